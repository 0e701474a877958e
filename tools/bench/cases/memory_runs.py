"""Runs of a function that does nothing, over memory repositories, without a timeout and with one."""

from __future__ import annotations

from pydatatask_core import InProcessMetadataRepository

from ..chains import bare_run, chain
from ..harness import Case, Figures, Lap, compare

__all__ = ["CASE"]

JOBS = 60_000


async def run(lap: Lap, timeout: float | None) -> None:
    pipeline, (done,) = chain(1, InProcessMetadataRepository({f"job{n:07}": {} for n in range(JOBS)}), timeout)
    async with pipeline:
        with lap.timed():
            await pipeline.run()
    assert len(done.data) == JOBS


async def without_timeout(lap: Lap) -> None:
    await run(lap, None)


async def with_timeout(lap: Lap) -> None:
    await run(lap, 60.0)


async def bare(lap: Lap) -> None:
    jobs = [f"job{n:07}" for n in range(JOBS)]
    done: dict[str, object] = {}
    with lap.timed():
        for job in jobs:
            await bare_run(job, done)


async def measure() -> Figures:
    limited = await compare(JOBS, with_timeout, bare)
    figures = await compare(JOBS, without_timeout, bare)
    return {**figures, **{f"with_timeout_{name}": value for name, value in limited.items() if name != "amount"}}


CASE = Case("memory-runs", "60,000 runs per second without a timeout, 30,000 with one", measure)
