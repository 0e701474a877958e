"""What a controller finds on this machine that an earlier one left."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    ProcessTask,
    Resources,
    Session,
)
from pydatatask_exec_local import LocalLinuxManager


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
