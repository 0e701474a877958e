"""What one run costs in a chain of 50 tasks, against a chain of 3."""

from __future__ import annotations

from pydatatask_core import InProcessMetadataRepository

from ..chains import chain
from ..harness import Case, Figures, Lap, compare

__all__ = ["CASE"]

RUNS = 30_000


async def run(lap: Lap, length: int) -> None:
    source = InProcessMetadataRepository({f"job{n:07}": {} for n in range(RUNS // length)})
    pipeline, dones = chain(length, source)
    async with pipeline:
        with lap.timed():
            await pipeline.run()
    assert all(len(done.data) == RUNS // length for done in dones)


async def fifty(lap: Lap) -> None:
    await run(lap, 50)


async def three(lap: Lap) -> None:
    await run(lap, 3)


async def measure() -> Figures:
    figures = await compare(RUNS, fifty, three)
    assert isinstance(figures["ratio"], float)
    return {**figures, "cost_of_a_run_against_a_chain_of_3": round(1 / figures["ratio"], 3)}


CASE = Case("long-chain", "at most 1.5 times the cost of a run in a chain of 3", measure)
