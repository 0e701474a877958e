"""What a controller finds on this machine that an earlier one left."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    ProcessTask,
    Resources,
    Session,
)
from pydatatask_core.repository.changes import ChangeSource, KeyEvent, Removed
from pydatatask_exec_local import LocalLinuxManager
from typing_extensions import override


class Announcing(InProcessMetadataRepository):
    """Tells of what is written and removed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: asyncio.Queue[Any] = asyncio.Queue()
        self._removed: asyncio.Queue[KeyEvent] = asyncio.Queue()

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.WATCHED

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        await super().dump(job, data)
        self.written.put_nowait(data)

    @override
    async def delete(self, job: str, /) -> None:
        await super().delete(job)
        self._removed.put_nowait(Removed(job))

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        async def events() -> AsyncIterator[KeyEvent]:
            while True:
                yield await self._removed.get()

        yield events()


def leave_a_run(folder: Path, owner: str, namespace: str) -> None:
    """Leave a run that has begun and has no end, whose supervisor is not there."""
    attempt = folder / "base" / "app" / "task@job" / "1"
    (attempt / "cwd").mkdir(parents=True)
    (attempt.parent / "claim").write_text(f"{owner} word\n")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (attempt / "start").write_text(f"{os.getpid()} 1 {boot} {namespace} 170000000000\n")
    (attempt / "stdout").write_bytes(b"so far")


async def test_a_run_that_was_lost_while_nobody_looked_is_ended_even_if_its_job_is_no_longer_ready(
    tmp_path: Path,
) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done, stdout = InProcessMetadataRepository(), InProcessBlobRepository()
    task = ProcessTask(
        "task", machine, None, Resources(), InProcessMetadataRepository(), "true\n", done=done, stdout=stdout
    )
    task.link("inputs", InProcessMetadataRepository(), is_input=True)
    leave_a_run(tmp_path, task.owner, os.readlink("/proc/self/ns/pid"))
    async with Pipeline([task], session) as pipeline:
        await pipeline.run()
    assert done.data["job"]["result"] == "lost"
    assert stdout.data == {"job": b"so far"}
    assert not (tmp_path / "base" / "app" / "task@job").exists()


async def test_a_run_in_another_pid_namespace_is_kept_as_live_until_somebody_says_that_it_is_over(
    tmp_path: Path,
) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done, pids = InProcessMetadataRepository(), InProcessMetadataRepository()
    task = ProcessTask("task", machine, None, Resources(), pids, "true\n", done=done)
    task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)
    leave_a_run(tmp_path, task.owner, "pid:[1]")
    async with Pipeline([task], session) as pipeline:
        await pipeline.update()
        assert done.data == {}
        assert "job" in pids.data
        await task.links["live"].repo.delete("job")
        await pipeline.run()
    assert done.data["job"]["result"] == "success"


@pytest.mark.parametrize("lives", [True, False])
async def test_a_run_that_people_were_told_of_and_whose_folder_is_gone_is_lost_when_its_supervisor_is(
    tmp_path: Path, lives: bool
) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = os.readlink("/proc/self/ns/pid")
    identity = {"pid": os.getpid(), "ticks": ticks if lives else 1, "boot": boot, "namespace": namespace}
    told = {"job": {"attempt": 3, "claim": "word", "identity": identity}}
    done, pids = InProcessMetadataRepository(), InProcessMetadataRepository(told)
    task = ProcessTask("task", machine, None, Resources(), pids, "true\n", done=done)
    task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        if lives:
            await pipeline.update()
            assert done.data == {}
            assert pids.data.keys() == {"job"}
            return
        await pipeline.run()
    assert (done.data["job"]["result"], done.data["job"]["attempt"]) == ("lost", 3)
    assert pids.data == {}


async def test_a_supervisor_that_is_dead_and_not_asked_for_by_its_parent_is_a_lost_run(tmp_path: Path) -> None:
    manager = LocalLinuxManager("app", tmp_path / "base")
    done, pids = InProcessMetadataRepository(), InProcessMetadataRepository()
    task = ProcessTask("task", lambda: manager, None, Resources(), pids, "true\n", done=done)
    words = ["/bin/sh", "-c", "true & echo $!; exec sleep 1000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        zombie = parent.stdout.readline().strip()
        ticks = Path(f"/proc/{zombie}/stat").read_text().rpartition(")")[2].split()[19]
        leave_a_run(tmp_path, task.owner, os.readlink("/proc/self/ns/pid"))
        start = tmp_path / "base" / "app" / "task@job" / "1" / "start"
        _, _, *rest = start.read_text().split()
        start.write_text(" ".join([zombie, ticks, *rest, "\n"]))
        try:
            async with asyncio.timeout(60):
                await task.live_jobs()
                await task.run("job")
                await task.released()
        finally:
            parent.kill()
    assert done.data["job"]["result"] == "lost"


async def test_a_run_whose_folder_vanishes_is_seen_to_be_lost_when_it_ends(tmp_path: Path) -> None:
    manager = LocalLinuxManager("app", tmp_path / "base")
    done, pids = InProcessMetadataRepository(), Announcing()
    script = f"echo > {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n"
    task = ProcessTask("task", lambda: manager, None, Resources(), pids, script, done=done)
    await task.live_jobs()
    running = asyncio.ensure_future(task.run("job"))
    async with asyncio.timeout(60):
        await pids.written.get()
        # By then it makes nothing in its folder any more.
        while not (tmp_path / "begun").exists():
            await asyncio.sleep(0.01)
        await asyncio.to_thread(shutil.rmtree, tmp_path / "base" / "app" / "task@job")
        (tmp_path / "go").touch()
        await running
    await task.released()
    assert (done.data["job"]["result"], done.data["job"]["reason"]) == ("lost", "its run folder is gone")


@pytest.mark.parametrize("record", [1234, {"pid": 1234}, None, "x"])
async def test_what_earlier_releases_told_of_live_runs_is_no_run(tmp_path: Path, record: object) -> None:
    manager = LocalLinuxManager("app", tmp_path / "base")
    pids = InProcessMetadataRepository({"job": record})
    task = ProcessTask("task", lambda: manager, None, Resources(), pids, "true\n", done=InProcessMetadataRepository())
    assert list(await task.live_jobs()) == []
    await task.released()


async def test_a_live_record_that_disappears_is_written_again_while_its_run_is_live_alone(tmp_path: Path) -> None:
    manager = LocalLinuxManager("app", tmp_path / "base")
    pids = Announcing()
    script = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done\n"
    task = ProcessTask("task", lambda: manager, None, Resources(), pids, script, done=InProcessMetadataRepository())
    await task.live_jobs()
    running = asyncio.ensure_future(task.run("job"))
    async with asyncio.timeout(60):
        before = await pids.written.get()
        await pids.delete("job")
        assert await pids.written.get() == before
        (tmp_path / "go").touch()
        await running
    await task.released()
    assert pids.data == {}
    assert pids.written.empty()


async def test_an_exit_record_without_its_end_does_not_count(tmp_path: Path) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done = InProcessMetadataRepository()
    task = ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), "true\n", done=done)
    task.link("inputs", InProcessMetadataRepository(), is_input=True)
    leave_a_run(tmp_path, task.owner, os.readlink("/proc/self/ns/pid"))
    (tmp_path / "base" / "app" / "task@job" / "1" / "exit").write_text("0 - 1700000000")
    async with Pipeline([task], session) as pipeline:
        await pipeline.run()
    assert done.data["job"]["result"] == "lost"


async def test_a_claim_that_never_started_is_taken_back_if_something_inhibits_its_start_by_now(tmp_path: Path) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done = InProcessMetadataRepository({"job": {"result": "success"}})
    task = ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), "true\n", done=done)
    task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)
    attempt = tmp_path / "base" / "app" / "task@job" / "1"
    (attempt / "cwd").mkdir(parents=True)
    (attempt.parent / "claim").write_text(f"{task.owner} word\n")
    (attempt / "limits").write_text("- 1 /dev/null 0\n")
    (attempt / "run").write_text(f": > {tmp_path}/ran\n")
    async with Pipeline([task], session) as pipeline:
        await pipeline.run()
    assert not (tmp_path / "ran").exists()
    assert not attempt.parent.exists()
