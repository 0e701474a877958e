"""What a watch tells: every change, whoever makes it and however, or that something was lost."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from pydatatask_repos_filesystem import (
    DirectoryRepository,
    FileRepository,
    YamlMetadataFileRepository,
    watch as watch_module,
)
from pydatatask_repos_filesystem.watch import FolderWatch

DEADLINE = 20.0


async def until(events: AsyncIterator[KeyEvent], last: KeyEvent) -> list[KeyEvent]:
    """Give what comes before one event."""
    before: list[KeyEvent] = []
    async with asyncio.timeout(DEADLINE):
        async for event in events:
            if event == last:
                return before
            before.append(event)
    raise AssertionError("the watch ended")


async def fence(repo: FileRepository | DirectoryRepository, events: AsyncIterator[KeyEvent]) -> list[KeyEvent]:
    """Give all that was told so far: what comes before an event that others make now."""
    path = repo.basedir / f".fence-{os.urandom(4).hex()}"
    target = repo.fullpath(path.name[1:])
    if isinstance(repo, DirectoryRepository):
        path.mkdir()
    else:
        path.touch()
    path.rename(target)
    return await until(events, Added(path.name[1:]))


@pytest.fixture
async def files(tmp_path: Path) -> FileRepository:
    repo = FileRepository(tmp_path / "files", ".txt")
    await repo.validate()
    return repo


@pytest.fixture
async def trees(tmp_path: Path) -> DirectoryRepository:
    repo = DirectoryRepository(tmp_path / "trees")
    await repo.validate()
    return repo


# files


async def test_a_file_written_in_place_is_added_when_it_is_closed(files: FileRepository) -> None:
    async with files.watch() as events:
        with files.fullpath("job").open("w") as file:
            file.write("half")
            file.flush()
            assert await fence(files, events) == []
            file.write("whole")
        assert await until(events, Added("job")) == []
        with files.fullpath("job").open("a") as file:
            file.write("more")
        assert await until(events, Added("job")) == []


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.touch(), Added("job")),
        (lambda path: path.symlink_to(path.parent.parent / "elsewhere"), Added("job")),
        (lambda path: os.link(path.parent.parent / "elsewhere", path), Added("job")),
        (lambda path: os.rename(path.parent.parent / "elsewhere", path), Added("job")),
        (lambda path: shutil.copy(path.parent.parent / "elsewhere", path), Added("job")),
    ],
    ids=["touch", "symlink", "link", "move in", "copy"],
)
async def test_every_way_to_bring_a_file_is_told(
    files: FileRepository, tmp_path: Path, make: Callable[[Path], object], told: KeyEvent
) -> None:
    (tmp_path / "elsewhere").write_text("value")
    async with files.watch() as events:
        make(files.fullpath("job"))
        assert await until(events, told) == []


@pytest.mark.parametrize(
    "unmake",
    [
        lambda path: path.unlink(),
        lambda path: path.rename(path.parent.parent / "away"),
        lambda path: path.rename(path.with_name(".hidden")),
        lambda path: path.rename(path.with_suffix(".other")),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["unlink", "move out", "hide", "another extension", "a directory instead"],
)
async def test_every_way_to_take_a_file_away_is_told(files: FileRepository, unmake: Callable[[Path], object]) -> None:
    files.fullpath("job").touch()
    async with files.watch() as events:
        unmake(files.fullpath("job"))
        assert await until(events, Removed("job")) == []


async def test_a_rename_within_the_folder_is_told_at_both_ends(files: FileRepository) -> None:
    files.fullpath("one").touch()
    async with files.watch() as events:
        files.fullpath("one").rename(files.fullpath("two"))
        told = [*await until(events, Added("two")), *await fence(files, events)]
        assert told == [Removed("one")]


async def test_a_link_whose_original_is_deleted_at_once_is_told(files: FileRepository, tmp_path: Path) -> None:
    watch = FolderWatch(files._folder, settle=0.01)
    await watch.arm()
    try:
        (tmp_path / "draft").write_text("value")
        os.link(tmp_path / "draft", files.fullpath("job"))
        (tmp_path / "draft").unlink()
        assert await until(watch, Added("job")) == []
    finally:
        watch.close()


async def test_hidden_and_foreign_names_are_not_told(files: FileRepository) -> None:
    async with files.watch() as events:
        for name in (".hidden.txt", "job.other", "no job.txt", "-.txt"):
            (files.basedir / name).touch()
        (files.basedir / "tree.txt").mkdir()
        assert await fence(files, events) == []


# own changes


async def test_own_writes_are_told_once_and_at_once(tmp_path: Path) -> None:
    repo = YamlMetadataFileRepository(tmp_path)
    jobs = [f"job{n}" for n in range(50)]
    async with repo.watch() as events:
        for job in jobs:
            await repo.dump(job, {})
        for job in jobs:
            async with asyncio.timeout(DEADLINE):
                assert await anext(events) == Added(job)
        async with await repo.open("blob", "wb") as writer:
            await writer.write(b"x" * 1_000_000)
        assert await until(events, Added("blob")) == []
        assert await fence(repo, events) == []


async def test_own_writes_to_another_repository_of_the_same_folder_are_told(tmp_path: Path) -> None:
    yaml, everything = YamlMetadataFileRepository(tmp_path), FileRepository(tmp_path)
    async with everything.watch() as events:
        await yaml.dump("job", {})
        assert await until(events, Added("job.yaml")) == []


async def test_own_stages_and_deletes_are_told_and_end_with_the_truth(trees: DirectoryRepository) -> None:
    async with trees.watch() as events:
        for _ in range(2):
            async with trees.stage("job") as stage:
                (stage / "leaf").touch()
            told = [*await until(events, Added("job")), *await fence(trees, events)]
            assert set(told) <= {Added("job")}, "a directory that was exchanged was told to be gone"
        await trees.delete("job")
        told = [*await until(events, Removed("job")), *await fence(trees, events)]
        assert set(told) <= {Removed("job")}


# directories


async def test_directories_that_others_make_replace_and_delete_are_told(
    trees: DirectoryRepository, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with trees.watch() as events:
        (trees.basedir / "made").mkdir()
        assert await until(events, Added("made")) == []
        (trees.basedir / "link").symlink_to(tmp_path / "elsewhere")
        assert await until(events, Added("link")) == []
        (tmp_path / "elsewhere").rename(trees.basedir / "moved")
        assert await until(events, Added("moved")) == []
        (trees.basedir / "made").rmdir()
        assert await until(events, Removed("made")) == []
        (trees.basedir / "file").touch()
        assert Added("file") not in await fence(trees, events)


async def test_directories_that_may_not_be_empty_are_polled(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path, discard_empty=True)
    assert repo.change_source is ChangeSource.POLLED
    async with repo.watch() as events:
        async with repo.stage("job") as stage:
            (stage / "leaf").touch()
        assert await until(events, Added("job")) == []


# losses

BUSY = """
import os, sys
one, two = (os.path.join(sys.argv[1], name) for name in ("one.txt", "two.txt"))
open(one, "w").close()
for _ in range(int(sys.argv[2])):
    os.rename(one, two)
    os.rename(two, one)
open(os.path.join(sys.argv[1], "last.txt"), "w").close()
"""


async def test_an_overflow_of_the_kernels_queue_is_a_resync(files: FileRepository) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    async with files.watch() as events:
        # Nobody reads meanwhile: the event loop waits for the process.
        subprocess.run([sys.executable, "-c", BUSY, str(files.basedir), str(limit)], check=True)
        async with asyncio.timeout(DEADLINE):
            while not isinstance(await anext(events), Resync):
                pass
        assert sorted([job async for job in files]) == ["last", "one"]
        assert await fence(files, events) is not None


async def test_a_busy_folder_with_an_idle_consumer_takes_bounded_memory(
    files: FileRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_MOST", 100)
    wanted = {f"job{n}" for n in range(1000)}
    known: set[str] = set()
    async with files.watch() as events:
        assert isinstance(events, FolderWatch)
        for job in sorted(wanted):
            files.fullpath(job).touch()
        async with asyncio.timeout(DEADLINE):
            while not events._events:
                await asyncio.sleep(0)
            assert len(events._touched) <= 100
            while known < wanted:
                event = await anext(events)
                if isinstance(event, Resync):
                    known |= {job async for job in files}
    assert known == wanted


@pytest.mark.slow
@pytest.mark.parametrize("how", ["delete", "move", "move the parent"])
async def test_a_folder_that_vanishes_and_returns_is_a_resync_each_time(tmp_path: Path, how: str) -> None:
    repo = FileRepository(tmp_path / "parent" / "files")
    await repo.validate()
    watch = FolderWatch(repo._folder, guard=0.05)
    await watch.arm()
    try:
        if how == "delete":
            repo.basedir.rmdir()
        elif how == "move":
            repo.basedir.rename(tmp_path / "away")
        else:
            repo.basedir.parent.rename(tmp_path / "away")
        assert await until(watch, Resync()) == []
        with pytest.raises(StoreUnavailableError):
            _ = [job async for job in repo]
        repo.basedir.mkdir(parents=True)
        (repo.basedir / "early").touch()
        assert await until(watch, Resync()) == []
        assert [job async for job in repo] == ["early"]
        (repo.basedir / "late").touch()
        assert Added("late") in [*await until(watch, Added("late")), Added("late")]
    finally:
        watch.close()


async def test_a_folder_that_is_replaced_is_watched_anew(files: FileRepository, tmp_path: Path) -> None:
    watch = FolderWatch(files._folder, guard=0.05)
    await watch.arm()
    try:
        files.basedir.rename(tmp_path / "away")
        files.basedir.mkdir()
        async with asyncio.timeout(DEADLINE):
            assert await anext(watch) == Resync()
        (tmp_path / "away" / "wrong.txt").touch()
        files.fullpath("right").touch()
        assert Added("wrong") not in await until(watch, Added("right"))
    finally:
        watch.close()


# the consumer


async def test_a_consumer_that_is_cancelled_while_it_waits_loses_nothing(files: FileRepository) -> None:
    heard: set[str] = set()
    async with files.watch() as events:
        for n in range(60):
            files.fullpath(f"job{n}").touch()
            waiting = asyncio.ensure_future(anext(events))
            for _ in range(n % 7):
                await asyncio.sleep(0)
            waiting.cancel()
            try:
                event = await waiting
            except asyncio.CancelledError:
                continue
            assert isinstance(event, Added)
            heard.add(event.job)
        heard.update(event.job for event in await fence(files, events) if isinstance(event, Added))
    assert heard == {f"job{n}" for n in range(60)}


async def test_a_watch_that_is_left_ends_for_whoever_waits_and_leaves_no_descriptor(files: FileRepository) -> None:
    async with files.watch():
        pass
    # What earlier tests left is not to go meanwhile.
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    async with files.watch() as events:
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, DEADLINE)
    async for _ in events:
        raise AssertionError("a watch that was left told of something")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_system_that_gives_no_more_watches_is_an_error_that_names_the_limits(files: FileRepository) -> None:
    async with files.watch():
        pass  # all that is imported on the way is imported now
    gc.collect()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
    try:
        with pytest.raises(StoreUnavailableError, match="max_user_instances"):
            async with files.watch():
                raise AssertionError("the limit was not reached")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
