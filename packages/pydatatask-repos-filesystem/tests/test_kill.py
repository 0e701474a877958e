"""A process killed by SIGKILL at any instant leaves the old value or the new one, and leftovers that are swept.

A child process does the work and kills itself at the n-th operation on the file system that Python's audit events
tell of, for every n until the work gets through.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydatatask_core.repository.protocols import Repository
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository

pytestmark = pytest.mark.slow

OLD, NEW = b"old" * 200_000, b"new" * 200_000
DEADLINE = 60.0

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository, directories

NEW = b"new" * 200_000
TELLING = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "fcntl.flock", "shutil.rmtree"}

async def write(folder):
    async with await FileRepository(folder).open("job", "wb") as writer:
        for start in range(0, len(NEW), 100_000):
            await writer.write(NEW[start : start + 100_000])

async def dump(folder):
    await YamlMetadataFileRepository(folder).dump("job", {"value": "new"})

async def unlink(folder):
    await FileRepository(folder).delete("job")

async def stage(folder):
    async with DirectoryRepository(folder).stage("job") as stage:
        for leaf in ("one", "two"):
            (stage / leaf).write_bytes(NEW)

async def stage_without_exchange(folder):
    directories.exchange = lambda one, other: False
    await stage(folder)

async def remove(folder):
    await DirectoryRepository(folder).delete("job")

def attempt(work, folder, last):
    met = 0

    def hook(event, arguments):
        nonlocal met
        if event in TELLING and folder in str(arguments[0]) or event == "fcntl.flock":
            met += 1
            if met > last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    asyncio.run(work(folder))
    os._exit(0)

work, folders = globals()[sys.argv[1]], sys.argv[2:]
for last, folder in enumerate(folders):
    child = os.fork()
    if child == 0:
        attempt(work, folder, last)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        print(last if status == 0 else f"failed: {status}")
        break
"""


def killed_everywhere(work: str, folders: list[Path]) -> list[Path]:
    """Do the work in each folder, killed one operation later each time; give those in which it was killed."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, work, *map(str, folders)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit(), f"the work never got through: {done.stdout} {done.stderr}"
    return folders[: int(done.stdout)]


async def listed(repo: Repository) -> list[str]:
    return [job async for job in repo]


async def swept(repo: FileRepository | DirectoryRepository) -> None:
    """Let a day pass for what was left over; then validating leaves nothing of it."""
    hidden = [path for path in repo.basedir.iterdir() if path.name.startswith(".")]
    await repo.validate()
    assert all(path.exists() for path in hidden if path.name.startswith(".pdt-new-")), "swept before its day was over"
    for path in repo.basedir.iterdir():
        if path.name.startswith("."):
            os.utime(path, (0, time.time() - 25 * 3600), follow_symlinks=False)
    await repo.validate()
    assert [path.name for path in repo.basedir.iterdir() if path.name.startswith(".")] == []


def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / str(n) for n in range(60)]
    for folder in made:
        folder.mkdir()
    return made


@pytest.mark.parametrize("before", [None, OLD])
async def test_a_killed_file_writer_leaves_the_old_value_or_the_new(tmp_path: Path, before: bytes | None) -> None:
    todo = folders(tmp_path)
    if before is not None:
        for folder in todo:
            (folder / "job").write_bytes(before)
    killed = killed_everywhere("write", todo)
    assert len(killed) >= 3
    leftovers = 0
    for folder in killed:
        leftovers += any(name.startswith(".") for name in os.listdir(folder))
        repo = FileRepository(folder)
        jobs = await listed(repo)
        assert jobs in (["job"], []) if before is None else jobs == ["job"]
        if jobs:
            assert (folder / "job").read_bytes() in (before, NEW)
        await swept(repo)
        assert await listed(repo) == jobs
    assert leftovers > 0


async def test_a_killed_dump_leaves_the_old_data_or_the_new(tmp_path: Path) -> None:
    todo = folders(tmp_path)
    for folder in todo:
        (folder / "job.yaml").write_text("value: old\n")
    killed = killed_everywhere("dump", todo)
    assert len(killed) >= 2
    for folder in killed:
        repo = YamlMetadataFileRepository(folder)
        assert await repo.info_all() in ({"job": {"value": "old"}}, {"job": {"value": "new"}})
        await swept(repo)


async def test_a_killed_delete_leaves_the_file_or_nothing(tmp_path: Path) -> None:
    todo = folders(tmp_path)
    for folder in todo:
        (folder / "job").write_bytes(OLD)
    for folder in killed_everywhere("unlink", todo):
        repo = FileRepository(folder)
        if await repo.contains("job"):
            assert (folder / "job").read_bytes() == OLD


def plant(folder: Path) -> None:
    (folder / "job").mkdir()
    for leaf in ("one", "two"):
        (folder / "job" / leaf).write_bytes(OLD)


def leaves(folder: Path) -> set[bytes]:
    assert sorted(os.listdir(folder / "job")) == ["one", "two"]
    return {(folder / "job" / leaf).read_bytes() for leaf in ("one", "two")}


@pytest.mark.parametrize("before", [False, True])
async def test_a_killed_stage_leaves_the_old_directory_or_the_new(tmp_path: Path, before: bool) -> None:
    todo = folders(tmp_path)
    if before:
        for folder in todo:
            plant(folder)
    killed = killed_everywhere("stage", todo)
    assert len(killed) >= 5
    for folder in killed:
        repo = DirectoryRepository(folder)
        jobs = await listed(repo)
        assert jobs == ["job"] if before else jobs in (["job"], [])
        if jobs:
            assert leaves(folder) in ({OLD}, {NEW})
        await swept(repo)
        assert await listed(repo) == jobs


async def test_a_directory_lost_between_two_renames_is_brought_back_by_validate(tmp_path: Path) -> None:
    todo = folders(tmp_path)
    for folder in todo:
        plant(folder)
    killed = killed_everywhere("stage_without_exchange", todo)
    lost = 0
    for folder in killed:
        repo = DirectoryRepository(folder)
        lost += await listed(repo) == []
        await repo.validate()
        assert await listed(repo) == ["job"]
        assert leaves(folder) in ({OLD}, {NEW})
        await swept(repo)
        assert await listed(repo) == ["job"]
    assert lost > 0, "no kill hit the moment between the two renames"


async def test_a_killed_delete_leaves_the_directory_or_nothing(tmp_path: Path) -> None:
    todo = folders(tmp_path)
    for folder in todo:
        plant(folder)
    gone = 0
    for folder in killed_everywhere("remove", todo):
        repo = DirectoryRepository(folder)
        if await repo.contains("job"):
            assert leaves(folder) == {OLD}
        else:
            gone += 1
        await swept(repo)
    assert gone > 0, "no kill hit a directory that was being deleted"


# held by the living

HOLD = """
import asyncio, sys
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository

async def file(folder):
    async with await FileRepository(folder).open("job", "wb") as writer:
        await writer.write(b"x" * 1_000_000)
        await pause()

async def tree(folder):
    async with DirectoryRepository(folder).stage("job") as stage:
        (stage / "leaf").touch()
        await pause()

async def pause():
    print("written", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(globals()[sys.argv[1]](sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["file", "tree"])
async def test_what_a_living_process_writes_is_never_swept_and_what_a_dead_one_left_is(
    tmp_path: Path, kind: str
) -> None:
    repo = FileRepository(tmp_path) if kind == "file" else DirectoryRepository(tmp_path)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, kind, str(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            assert await child.stdout.readline() == b"written\n"
        (hidden,) = tmp_path.iterdir()
        os.utime(hidden, (0, 0))
        await repo.validate()
        assert hidden.exists(), "what a living process writes was swept"
        assert await listed(repo) == []
        child.send_signal(signal.SIGKILL)
        async with asyncio.timeout(DEADLINE):
            await child.wait()
        assert await listed(repo) == []
        await repo.validate()
        assert list(tmp_path.iterdir()) == []
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()
