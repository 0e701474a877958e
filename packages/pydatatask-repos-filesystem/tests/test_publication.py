"""Nothing half-written is ever seen: full disks, lacking permissions, cancellation, and writers that race."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pydatatask_core.errors import MissingJobError, StoreFullError, StorePermissionError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.testing.suite import cut_short
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository

MIB = 1024 * 1024


async def listed(repo: Repository) -> list[str]:
    return sorted([job async for job in repo])


def hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


async def write(repo: FileRepository, job: str, data: bytes, chunk: int = MIB) -> None:
    async with await repo.open(job, "wb") as writer:
        for start in range(0, len(data), chunk):
            await writer.write(data[start : start + chunk])


# full and forbidden disks


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets the tests mount nothing: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    mount("-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        if subprocess.run(["umount", str(disk)]).returncode:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
            pytest.fail("something was left open on the small disk")


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("chunk", [10_000, MIB])
async def test_a_full_disk_is_told_and_nothing_of_the_value_is_published(
    small_disk: Path, chunk: int, durable: bool
) -> None:
    repo = FileRepository(small_disk, durable=durable)
    await write(repo, "old", b"o" * 1000)
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        for job in ("old", "fresh"):
            with pytest.raises(StoreFullError, match=job) as caught:
                await write(repo, job, b"x" * MIB, chunk)
            assert isinstance(caught.value.__cause__, OSError)
            assert repr(repo) in str(caught.value)
    assert heard == []
    assert await listed(repo) == ["old"]
    assert (small_disk / "old").read_bytes() == b"o" * 1000
    assert hidden(small_disk) == []


async def test_metadata_on_a_full_disk_keeps_the_old_value(small_disk: Path) -> None:
    repo = YamlMetadataFileRepository(small_disk)
    await repo.dump("job", {"old": True})
    (small_disk / "ballast").write_bytes(b"x" * (508 * 1024))
    for job in ("job", "fresh"):
        with pytest.raises(StoreFullError, match=job):
            await repo.dump(job, {"text": "x" * 100_000})
    assert await repo.info_all() == {"job": {"old": True}}
    assert hidden(small_disk) == []
    (small_disk / "ballast").unlink()
    await repo.dump("job", {"text": "x" * 100_000})


async def test_a_stage_on_a_full_disk_is_discarded(small_disk: Path) -> None:
    repo = DirectoryRepository(small_disk)
    async with repo.stage("job") as stage:
        (stage / "leaf").write_bytes(b"old")

    async def fill() -> None:
        async with repo.stage("job") as stage:
            (stage / "leaf").write_bytes(b"x" * MIB)

    with pytest.raises(OSError, match="No space"):
        await fill()
    assert (small_disk / "job" / "leaf").read_bytes() == b"old"
    assert hidden(small_disk) == []


async def test_a_failure_to_write_that_was_swallowed_still_publishes_nothing(small_disk: Path) -> None:
    repo = FileRepository(small_disk)
    writer = await repo.open("job", "wb")
    with pytest.raises(StoreFullError):
        await writer.write(b"x" * MIB)
    with pytest.raises(StoreFullError):
        await writer.write(b"x" * MIB)
    with pytest.raises(StoreFullError):
        await writer.close()
    await writer.close()
    assert os.listdir(small_disk) == []


async def test_a_failure_to_write_that_a_cancelled_task_never_heard_of_publishes_nothing(small_disk: Path) -> None:
    repo = FileRepository(small_disk)
    writer = await repo.open("job", "wb")
    task = asyncio.create_task(writer.write(b"x" * MIB))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(StoreFullError):
        await writer.close()
    assert os.listdir(small_disk) == []


async def test_a_read_only_disk_can_be_read_and_refuses_the_rest(small_disk: Path) -> None:
    files, trees = FileRepository(small_disk / "files"), DirectoryRepository(small_disk / "trees")
    for repo in (files, trees):
        await repo.validate()
    await write(files, "job", b"value")
    async with trees.stage("job") as stage:
        (stage / "leaf").write_bytes(b"value")
    mount("-o", "remount,ro", str(small_disk))
    for repo in (files, trees):
        await repo.validate()
        assert await listed(repo) == ["job"]
        with pytest.raises(StorePermissionError, match="Read-only"):
            await repo.delete("job")
    refused: list[Awaitable[object]] = [
        write(files, "job", b"new"),
        write(files, "fresh", b"x" * MIB),
        trees.mkdir("fresh"),
        trees.stage("fresh").__aenter__(),
        FileRepository(small_disk / "new").validate(),
    ]
    for verb in refused:
        with pytest.raises(StorePermissionError, match="Read-only"):
            await verb
    assert (small_disk / "files" / "job").read_bytes() == b"value"
    assert (small_disk / "trees" / "job" / "leaf").read_bytes() == b"value"


async def test_permission_denied_is_told_and_never_an_empty_store(
    open_folder: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    files, trees = FileRepository(open_folder / "files"), DirectoryRepository(open_folder / "trees")
    for repo in (files, trees):
        await repo.validate()
        os.chmod(repo.basedir, 0o000)
    (open_folder / "read-only").mkdir(0o555)
    (open_folder / "read-only" / "job").touch(0o000)
    read_only = FileRepository(open_folder / "read-only")
    with as_nobody():
        denied: list[Awaitable[object]] = [
            listed(files),
            files.contains("job"),
            files.open("job", "rb"),
            files.delete("job"),
            write(files, "job", b"x"),
            listed(trees),
            trees.delete("job"),
            trees.mkdir("job"),
            read_only.open("job", "rb"),
            write(read_only, "job", b"x"),
        ]
        for verb in denied:
            with pytest.raises(StorePermissionError, match="denied") as caught:
                await verb
            assert str(open_folder) in str(caught.value)
        await read_only.validate()
        assert await listed(read_only) == ["job"]
    for repo in (files, trees):
        os.chmod(repo.basedir, 0o700)


async def test_any_other_error_is_an_unavailable_store_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    repo = FileRepository(tmp_path / "a" / "files")
    with pytest.raises(StoreUnavailableError, match="symbolic links") as caught:
        await listed(repo)
    assert isinstance(caught.value.__cause__, OSError)


# cancellation


async def test_cancelling_at_any_moment_leaves_old_or_new_and_nothing_hidden(tmp_path: Path) -> None:
    yaml = YamlMetadataFileRepository(tmp_path / "yaml")
    files = FileRepository(tmp_path / "files")
    trees = DirectoryRepository(tmp_path / "trees")
    for folder in (yaml, files, trees):
        await folder.validate()

    async def grow(job: str) -> None:
        async with trees.stage(job) as stage:
            (stage / "leaf").touch()
            await asyncio.sleep(0)

    works: list[tuple[Repository, Callable[[str], Awaitable[None]]]] = [
        (yaml, lambda job: yaml.dump(job, {"n": 1})),
        (files, lambda job: write(files, job, b"x" * 10)),
        (files, lambda job: write(files, job, b"x" * MIB, 300_000)),
        (trees, grow),
    ]
    for repo, work in works:
        announced: set[str] = set()

        def hear(event: KeyEvent, announced: set[str] = announced) -> None:
            if isinstance(event, Added):
                announced.add(event.job)
            elif isinstance(event, Removed):
                announced.discard(event.job)

        await asyncio.gather(*[repo.delete(job) for job in await listed(repo)])
        with repo.changes.listening(hear):
            for turns in range(1, 25):
                await cut_short(_awaited(work(f"job{turns}")), turns)
            present = set(await listed(repo))
            assert announced == present
            for turns in range(1, 25):
                await cut_short(repo.delete(f"job{turns}"), turns % 4)
            assert announced == set(await listed(repo))
    for folder in (yaml, files, trees):
        assert hidden(folder.basedir) == []


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def test_a_cancelled_read_can_be_taken_up_again_and_misses_nothing(tmp_path: Path) -> None:
    value = os.urandom(3 * MIB)
    (tmp_path / "job").write_bytes(value)
    reader = await FileRepository(tmp_path).open("job", "rb")
    found = b""
    for turns in range(40):
        task = asyncio.create_task(reader.read(100_000))
        for _ in range(turns % 5):
            await asyncio.sleep(0)
        task.cancel()
        try:
            found += await task
        except asyncio.CancelledError:
            pass
    found += await reader.read()
    await reader.close()
    assert found == value


async def test_a_cancelled_opening_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "job").write_bytes(b"x" * MIB)
    repo = FileRepository(tmp_path)
    before = os.listdir("/proc/self/fd")
    for turns in range(6):
        await cut_short(repo.open("job", "rb"), 1 + turns % 2)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


async def test_a_stage_is_discarded_by_an_exception(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path)
    async with repo.stage("old") as stage:
        (stage / "leaf").write_bytes(b"old")

    async def fail(job: str) -> None:
        async with repo.stage(job) as stage:
            (stage / "deep").mkdir()
            (stage / "deep" / "leaf").write_bytes(b"new")
            assert await listed(repo) == ["old"]
            raise ZeroDivisionError

    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        for job in ("old", "fresh"):
            with pytest.raises(ZeroDivisionError):
                await fail(job)
    assert heard == []
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old" / "leaf").read_bytes() == b"old"


async def test_a_stage_is_discarded_by_cancellation(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path)
    staged = asyncio.Event()

    async def hang() -> None:
        async with repo.stage("job") as stage:
            (stage / "leaf").touch()
            staged.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await asyncio.wait_for(staged.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(tmp_path) == []


async def test_two_stages_of_one_job_do_not_meet_and_the_last_wins(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path)
    async with repo.stage("job") as one:
        async with repo.stage("job") as other:
            assert one != other
            (other / "other").touch()
        (one / "one").touch()
        assert os.listdir(tmp_path / "job") == ["other"]
    assert os.listdir(tmp_path / "job") == ["one"]
    assert os.listdir(tmp_path) == ["job"]


# races between processes

WRITE_FILES = """
import asyncio, sys
from pydatatask_repos_filesystem import FileRepository

async def main(folder, letter):
    repo = FileRepository(folder)
    for n in range(1000):
        async with await repo.open("job", "wb") as writer:
            await writer.write(letter.encode() * (40_000 if n % 10 else 400_000))

asyncio.run(main(*sys.argv[1:]))
"""

WRITE_TREES = """
import asyncio, sys
from pydatatask_repos_filesystem import DirectoryRepository

async def main(folder, letter):
    repo = DirectoryRepository(folder)
    for n in range(300):
        async with repo.stage("job") as stage:
            for leaf in ("one", "two"):
                (stage / leaf).write_text(f"{letter}{n}")

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def writing(script: str, folder: Path) -> Iterator[Callable[[], bool]]:
    """Have two processes write at the same time; gives what tells whether they still do."""
    children = [subprocess.Popen([sys.executable, "-c", script, str(folder), letter]) for letter in "ab"]
    try:
        yield lambda: any(child.poll() is None for child in children)
        assert [child.wait(60) for child in children] == [0, 0]
    finally:
        for child in children:
            child.kill()
            child.wait()


@pytest.mark.slow
async def test_a_reader_never_sees_a_mixture_of_what_two_processes_write(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path)
    reads = 0
    with writing(WRITE_FILES, tmp_path) as going_on:
        while going_on():
            try:
                async with await repo.open("job", "rb") as reader:
                    data = await reader.read(1000)
                    data += await reader.read()
            except MissingJobError:
                assert reads == 0, "the job vanished"
                continue
            reads += 1
            assert len(data) in (40_000, 400_000)
            assert data in (b"a" * len(data), b"b" * len(data))
    assert reads > 0
    assert os.listdir(tmp_path) == ["job"]


@pytest.mark.slow
async def test_an_exchanged_directory_is_one_or_the_other_and_never_absent(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path)
    whole = 0
    async with repo.stage("job") as stage:
        for leaf in ("one", "two"):
            (stage / leaf).write_text("a0")
    with writing(WRITE_TREES, tmp_path) as going_on:
        while going_on():
            assert await repo.contains("job")
            directory = os.open(tmp_path / "job", os.O_RDONLY)
            try:
                leaves = [read_at(directory, leaf) for leaf in ("one", "two")]
            except FileNotFoundError:
                continue  # it was replaced, and is being deleted
            finally:
                os.close(directory)
            assert leaves[0] == leaves[1]
            whole += 1
    assert whole > 0
    assert os.listdir(tmp_path) == ["job"]


def read_at(directory: int, name: str) -> bytes:
    file = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)
