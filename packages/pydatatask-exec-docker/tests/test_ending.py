"""Looking into containers in the very moment in which they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, get_args

import pytest
from aiodocker.execs import Exec
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import STDOUT, InProcessBlobRepository, InProcessMetadataRepository, Pipeline, Resources
from pydatatask_core.errors import MissingJobError, SiteUnavailableError
from pydatatask_core.runs.site import RunName
from pydatatask_exec_docker import ContainerTask, DockerManager, manager as manager_module, spec as spec_module

ROUNDS = 12
STEP = 0.002
"""Seconds by which each round ends its container later: together they cover the start of a program beside it."""


def run_of(number: int) -> RunName:
    return RunName("task", f"job-{number}", 1)


@asynccontextmanager
async def begun(manager: DockerManager, containers: int = 1) -> AsyncIterator[None]:
    """Have containers whose scripts have written a line and go on. They are followed from their very start."""
    session, engine = engine_of(manager)
    script = "echo out; sleep 60"
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, script, done=InProcessMetadataRepository())
    async with session, asyncio.timeout(2 * DEADLINE):
        for number in range(containers):
            run = run_of(number)
            assert await manager.claim(run, "me", await task.make(run)) is not None
            await manager.start(run)
            async with await manager.follow_output(run, "stdout") as reader:
                assert await reader.read(4) == b"out\n"
        yield


Ending = Literal["ended-before", "ends-before", "ends-meanwhile"]


def end_while_one_begins(manager: DockerManager, monkeypatch: pytest.MonkeyPatch, ending: Ending) -> None:
    """Let containers end when a program beside theirs is prepared: have ended before it begins, just then, or end after
    that.
    """
    execute = manager.engine.execute
    rounds = iter(range(ROUNDS))
    ends = set()

    async def end(container: str, after: float) -> None:
        await asyncio.sleep(after)
        # The engine answers when it has ended.
        await manager.engine.signal(container, "SIGKILL")

    async def prepared(
        container: str, argv: Sequence[str], *, interactive: bool = True, terminal: bool = False
    ) -> Exec:
        made = await execute(container, argv, interactive=interactive, terminal=terminal)
        later = next(rounds) * STEP
        ended = asyncio.ensure_future(end(container, later if ending == "ends-meanwhile" else 0))
        ends.add(ended)
        if ending == "ended-before":
            await ended
        elif ending == "ends-before":
            # It has seemed to end after 40 to 150 ms, and the engine to fail meanwhile.
            await asyncio.sleep(6 * later)
        return made

    monkeypatch.setattr(manager.engine, "execute", prepared)


@pytest.mark.parametrize("ending", get_args(Ending))
async def test_what_is_followed_is_what_was_written_whenever_it_ends(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    async with begun(manager, ROUNDS):
        end_while_one_begins(manager, monkeypatch, ending)
        for number in range(ROUNDS):
            async with asyncio.timeout(DEADLINE), await manager.follow_output(run_of(number), "stdout") as reader:
                assert await reader.read() == b"out\n", number


@pytest.mark.parametrize("ending", get_args(Ending))
async def test_a_program_beside_a_container_that_ends_has_no_output_but_its_own(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch, ending: Ending
) -> None:
    async with begun(manager, ROUNDS):
        end_while_one_begins(manager, monkeypatch, ending)
        for number in range(ROUNDS):
            found = {"stdout": b"", "stderr": b""}
            try:
                async with asyncio.timeout(DEADLINE), await manager.exec(run_of(number), ["echo", "mine"]) as program:
                    async for stream, data in program.output():
                        found[stream] += data
            except MissingJobError:
                continue
            assert found["stdout"] in {b"", b"mine\n"}, number
            assert program.exit_status == 0 or not found["stdout"] or not found["stderr"], number


async def test_no_program_begins_beside_a_container_that_ended_meanwhile(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with begun(manager):
        end_while_one_begins(manager, monkeypatch, "ended-before")
        with pytest.raises(MissingJobError, match="does not run"):
            await manager.exec(run_of(0), ["true"])


async def test_a_run_that_goes_on_without_its_follower_is_not_taken_for_ended(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "ENDING", 0.5)
    async with begun(manager), await manager.follow_output(run_of(0), "stdout") as reader:
        assert await reader.read(4) == b"out\n"
        async with await manager.exec(run_of(0), ["killall", "-KILL", "tail"]) as killing:
            assert [data async for _, data in killing.output()] == []
        with pytest.raises(SiteUnavailableError, match="interrupted while the run goes on"):
            await reader.read(1)


@pytest.mark.parametrize("moment", ["if [ -e", "job=$!", 'wait "$job"\n    code'])
async def test_the_end_of_a_run_is_not_missed_whenever_it_is_asked_for(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    supervise = spec_module.SUPERVISE
    before, _, after = supervise.rpartition(moment)
    monkeypatch.setattr(spec_module, "SUPERVISE", f"{before}kill -TERM $$\n{moment}{after}")
    session, engine = engine_of(manager)
    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "sleep 1000", done=done, grace=1.0)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)
    assert (done.data["one"]["result"], done.data["one"]["cause"]) == ("lost", "evicted")


async def test_what_a_run_writes_while_it_is_made_to_end_is_followed(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than it takes to end, so that what is left is not read after it.
    monkeypatch.setattr(manager_module, "ENDING", 0.5)
    script = "trap 'sleep 2; echo cleaned; exit 0' TERM; echo out; while :; do sleep 0.1; done"
    session, engine = engine_of(manager)
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, script, done=InProcessMetadataRepository())
    async with session, asyncio.timeout(DEADLINE):
        assert await manager.claim(run_of(0), "me", await task.make(run_of(0))) is not None
        await manager.start(run_of(0))
        async with await manager.follow_output(run_of(0), "stdout") as reader:
            assert await reader.read(4) == b"out\n"
            (seen,) = await manager.look("task", "job-0")
            await manager.cancel(seen, "cancelled")
            assert await reader.read(100) == b"cleaned\n"


async def test_a_stream_that_a_run_does_not_write_is_missing_at_once(app: App, manager: DockerManager) -> None:
    session, engine = engine_of(manager)
    task = ContainerTask(
        "task",
        engine,
        None,
        Resources(),
        BUSYBOX,
        "sleep 60",
        done=InProcessMetadataRepository(),
        stdout=InProcessBlobRepository(),
        stderr=STDOUT,
    )
    async with session, asyncio.timeout(DEADLINE):
        assert await manager.claim(run_of(0), "me", await task.make(run_of(0))) is not None
        await manager.start(run_of(0))
        with pytest.raises(MissingJobError):
            await manager.follow_output(run_of(0), "stderr")
