"""Scripts as processes of this machine, against an asyncio loop that spawns ``sh -c`` with redirections."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator

from pydatatask_core import InProcessMetadataRepository, Pipeline, ProcessTask, ResourceManager, Resources, Session
from pydatatask_exec_local import LocalLinuxManager

from ..harness import Case, Figures, Lap, compare

__all__ = ["CASE"]

JOBS = 1000
AT_ONCE = 16

_seconds: list[float] = []


async def processes(lap: Lap) -> None:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("bench", lap.folder / "runs")

    task = ProcessTask(
        "task",
        machine,
        ResourceManager(Resources.parse(AT_ONCE, 0)),
        Resources.parse(1, 0),
        InProcessMetadataRepository(),
        "/bin/true\n",
        done=InProcessMetadataRepository(),
    )
    task.link("source", InProcessMetadataRepository({f"job{n:07}": {} for n in range(JOBS)}), is_input=True)
    pipeline = Pipeline([task], session)
    async with pipeline:
        began = time.monotonic()
        with lap.timed():
            controller = await pipeline.run()
        _seconds.append(time.monotonic() - began)
    assert controller.progress()[0].succeeded == JOBS


async def bare(lap: Lap) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def spawn(job: str) -> None:
        async with room:
            process = await asyncio.create_subprocess_exec(
                "sh", "-c", f"/bin/true > {job}.out 2> {job}.err < /dev/null", cwd=lap.folder
            )
            assert await process.wait() == 0

    with lap.timed():
        await asyncio.gather(*(spawn(f"job{n:07}") for n in range(JOBS)))


async def measure() -> Figures:
    _seconds.clear()
    figures = await compare(JOBS, processes, bare)
    return {**figures, "per_second": round(JOBS / statistics.median(_seconds))}


CASE = Case("local-processes", "100 per second, and 0.3 of the bare loop", measure)
