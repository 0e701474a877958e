"""Looking into live containers: what they write, and programs beside theirs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, Pipeline, Resources
from pydatatask_core.errors import MissingJobError
from pydatatask_core.runs.interactive import Execution, TerminalSize
from pydatatask_core.runs.site import RunName
from pydatatask_exec_docker import ContainerTask, DockerManager

RUN = RunName("task", "one", 1)


def pipeline_of(manager: DockerManager, script: str) -> tuple[Pipeline, ContainerTask, InProcessBlobRepository]:
    """Give a pipeline of one job, its task, and where its output goes."""
    session, engine = engine_of(manager)
    out = InProcessBlobRepository()
    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, script, done=done, stdout=out, grace=0.1)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)
    return Pipeline([task], session), task, out


@asynccontextmanager
async def live(app: App, manager: DockerManager, script: str) -> AsyncIterator[InProcessBlobRepository]:
    """Run a script on one job, and end it."""
    made, task, out = pipeline_of(manager, script)
    async with made as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=DEADLINE))
        await app.until_running()
        yield out
        await task.end("one", "cancelled")
        await running


async def collected(execution: Execution) -> dict[str, bytes]:
    found = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(DEADLINE):
        async for stream, data in execution.output():
            found[stream] += data
    return found


async def test_output_is_followed_to_the_end_of_the_run(app: App, manager: DockerManager) -> None:
    script = "echo first; while [ ! -e /go ]; do sleep 0.1; done; for i in 1 2 3; do echo line $i; done; printf last"
    async with live(app, manager, script) as out:
        async with asyncio.timeout(DEADLINE), await manager.follow_output(RUN, "stdout") as reader:
            assert await reader.read(0) == b""
            assert await reader.read(4) == b"firs"
            assert await reader.read(100) == b"t\n"
            async with await manager.exec(RUN, ["touch", "/go"]) as touch:
                await collected(touch)
            rest = await reader.read()
        with pytest.raises(ValueError, match="after closing"):
            await reader.read(1)
        assert rest == b"line 1\nline 2\nline 3\nlast"
    assert out.data == {"one": b"first\n" + rest}


async def test_output_is_read_from_a_byte_on(app: App, manager: DockerManager) -> None:
    async with live(app, manager, "printf 0123456789; printf errors >&2; touch /written; sleep 60"):
        async with await manager.exec(RUN, ["sh", "-c", "while [ ! -e /written ]; do sleep 0.1; done"]) as waiting:
            await collected(waiting)
        async with await manager.open_output(RUN, "stdout", 4) as reader:
            assert await reader.read(3) == b"456"
            assert await reader.read() == b"789"
            assert await reader.read() == b""
        async with await manager.open_output(RUN, "stderr") as reader:
            assert await reader.read() == b"errors"


async def test_output_of_what_does_not_exist_is_missing(manager: DockerManager) -> None:
    with pytest.raises(MissingJobError):
        await manager.open_output(RUN, "stdout")
    with pytest.raises(MissingJobError):
        await manager.follow_output(RUN, "stdout")


async def test_a_program_runs_beside_and_gives_output_errors_and_status(app: App, manager: DockerManager) -> None:
    program = ["sh", "-c", "echo out; echo err >&2; exit 7"]
    async with live(app, manager, "sleep 60"), await manager.exec(RUN, program) as execution:
        assert execution.exit_status is None
        assert await collected(execution) == {"stdout": b"out\n", "stderr": b"err\n"}
        assert execution.exit_status == 7


async def test_a_program_reads_what_is_written_to_it(app: App, manager: DockerManager) -> None:
    async with live(app, manager, "sleep 60"), await manager.exec(RUN, ["head", "-c", "6"]) as execution:
        await execution.write(b"abc")
        await execution.write(b"\0\xff\n")
        assert (await collected(execution))["stdout"] == b"abc\0\xff\n"
        assert execution.exit_status == 0


async def test_a_program_is_told_the_end_of_its_input(app: App, manager: DockerManager) -> None:
    written = os.urandom(300_000)
    async with live(app, manager, "sleep 60"), await manager.exec(RUN, ["cat"]) as execution:
        await execution.write(written)
        assert await execution.end_input()
        async with asyncio.timeout(DEADLINE):
            assert (await collected(execution))["stdout"] == written
        assert execution.exit_status == 0


async def test_a_program_may_have_a_terminal_with_a_size(app: App, manager: DockerManager) -> None:
    async with live(app, manager, "sleep 60"):
        program = ["sh", "-c", "read line; stty size"]
        async with await manager.exec(RUN, program, terminal=TerminalSize(columns=91, rows=33)) as execution:
            await execution.write(b"go\n")
            assert (await collected(execution))["stdout"].split()[-2:] == [b"33", b"91"]
        async with await manager.exec(RUN, ["true"], terminal=TerminalSize(80, 24)) as execution:
            await collected(execution)
            assert execution.exit_status == 0


async def test_what_has_not_begun_and_what_has_ended_has_output_and_no_programs(
    app: App, manager: DockerManager
) -> None:
    session, engine = engine_of(manager)
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "echo out", done=InProcessMetadataRepository())
    async with session:
        claimed = await manager.claim(RUN, "me", await task.make(RUN))
        assert claimed is not None
        with pytest.raises(MissingJobError, match="does not run"):
            await manager.exec(RUN, ["true"])
        following = asyncio.ensure_future(manager.follow_output(RUN, "stdout"))
        await manager.start(RUN)
        async with asyncio.timeout(DEADLINE), await following as reader:
            assert await reader.read() == b"out\n"
        await manager.engine.wait(claimed.claim, 60)
        with pytest.raises(MissingJobError, match="does not run"):
            await manager.exec(RUN, ["true"])
        async with await manager.follow_output(RUN, "stdout") as reader:
            assert await reader.read() == b"out\n"


async def test_no_program_runs_beside_what_is_not_live(manager: DockerManager) -> None:
    with pytest.raises(MissingJobError):
        await manager.exec(RUN, ["true"])
    made, *_ = pipeline_of(manager, "exit 0")
    async with made as pipeline:
        await pipeline.run(timeout=DEADLINE)
    with pytest.raises(MissingJobError):
        await manager.exec(RUN, ["true"])
