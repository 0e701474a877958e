"""``durable=True`` syncs file and folder, in the order that makes a publication survive a loss of power.

What a sync does to a disk cannot be seen from here. So the system call is replaced by a probe that looks, at the
moment it is asked to sync, at what is on disk by then; and that can fail, as a broken disk does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository


def name_of(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


def probe(repo: FileRepository | DirectoryRepository, fails: Callable[[Path], bool] = lambda path: False) -> list[str]:
    """Have each sync noted, with what stands at the job's place at that time."""
    synced: list[str] = []
    place = repo.fullpath("job")

    def sync(fd: int) -> None:
        os.fsync(fd)
        path = name_of(fd)
        if fails(path):
            raise OSError(5, "Input/output error")
        what = "folder" if path == repo.basedir else path.name.rpartition("~")[2]
        state = "absent" if not place.exists() else "tree" if place.is_dir() else place.read_text()
        synced.append(f"{what}, job {state}")

    assert repo._folder.sync is os.fsync
    repo._folder.sync = sync
    return synced


@pytest.mark.parametrize("size", [3, 1_000_000])
async def test_a_file_is_on_disk_before_it_is_renamed_and_the_folder_after(tmp_path: Path, size: int) -> None:
    repo = FileRepository(tmp_path, durable=True)
    (tmp_path / "job").write_text("old")
    synced = probe(repo)
    sizes: list[int] = []
    inner = repo._folder.sync
    assert inner is not None

    def sync(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        inner(fd)

    repo._folder.sync = sync
    async with await repo.open("job", "w") as writer:
        await writer.write("n" * size)
    assert synced == ["job, job old", f"folder, job {'n' * size}"]
    assert sizes[0] == size


async def test_metadata_is_on_disk_before_it_is_renamed_and_the_folder_after(tmp_path: Path) -> None:
    repo = YamlMetadataFileRepository(tmp_path, durable=True)
    synced = probe(repo)
    await repo.dump("job", {"a": 1})
    assert synced == ["job.yaml, job absent", "folder, job a: 1\n"]


async def test_all_of_a_directory_is_on_disk_before_it_is_renamed_and_the_folder_after(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path, durable=True)
    synced = probe(repo)
    async with repo.stage("job") as stage:
        (stage / "deep").mkdir()
        (stage / "deep" / "leaf").touch()
        (stage / "link").symlink_to("nowhere")
        os.mkfifo(stage / "pipe")
        (stage / "top").touch()
    assert sorted(synced[:-1]) == [f"{name}, job absent" for name in ("deep", "job", "leaf", "top")]
    assert synced[-1] == "folder, job tree"


async def test_a_delete_syncs_the_folder(tmp_path: Path) -> None:
    (tmp_path / "job").touch()
    files = FileRepository(tmp_path, durable=True)
    synced = probe(files)
    await files.delete("job")
    await files.delete("job")
    assert synced == ["folder, job absent"]
    (tmp_path / "job").mkdir()
    trees = DirectoryRepository(tmp_path, durable=True)
    synced = probe(trees)
    await trees.delete("job")
    assert synced == ["folder, job absent"]


async def test_validate_syncs_the_folders_that_it_makes(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path / "a" / "b", durable=True)
    synced: list[Path] = []
    repo._folder.sync = lambda fd: synced.append(name_of(fd))
    await repo.validate()
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    await repo.validate()
    assert synced == []


@pytest.mark.parametrize("size", [3, 1_000_000])
async def test_a_disk_that_fails_to_sync_the_file_publishes_nothing(tmp_path: Path, size: int) -> None:
    repo = FileRepository(tmp_path, durable=True)
    (tmp_path / "job").write_text("old")
    probe(repo, fails=lambda path: path != tmp_path)
    heard: list[KeyEvent] = []

    async def write() -> None:
        async with await repo.open("job", "wb") as writer:
            await writer.write(b"x" * size)

    with repo.changes.listening(heard.append), pytest.raises(StoreUnavailableError, match="Input/output"):
        await write()
    assert heard == []
    assert os.listdir(tmp_path) == ["job"]
    assert (tmp_path / "job").read_text() == "old"


async def test_a_disk_that_fails_to_sync_a_directory_publishes_nothing(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path, durable=True)
    probe(repo, fails=lambda path: path.name == "leaf")

    async def grow() -> None:
        async with repo.stage("job") as stage:
            (stage / "leaf").touch()

    with pytest.raises(StoreUnavailableError, match="Input/output"):
        await grow()
    assert os.listdir(tmp_path) == []


async def test_a_disk_that_fails_to_sync_the_folder_is_told_and_the_change_is_announced(tmp_path: Path) -> None:
    repo = YamlMetadataFileRepository(tmp_path, durable=True)
    probe(repo, fails=lambda path: path == tmp_path)
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        with pytest.raises(StoreUnavailableError, match="loss of power"):
            await repo.dump("job", {})
        with pytest.raises(StoreUnavailableError, match="loss of power"):
            await repo.delete("job")
    assert heard == [Added("job"), Removed("job")]
    assert os.listdir(tmp_path) == []


async def test_nothing_is_synced_unless_asked_for(tmp_path: Path) -> None:
    for repo in (FileRepository(tmp_path), DirectoryRepository(tmp_path), YamlMetadataFileRepository(tmp_path)):
        assert not repo.durable
        assert repo._folder.sync is None
