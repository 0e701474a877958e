"""How each measure grows from a thousand jobs to a million, against n log n."""

from __future__ import annotations

import asyncio
import gc
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence

from pydatatask_core import InProcessMetadataRepository

from ..chains import chain
from ..harness import Case, Figures
from ..standing import Standing

__all__ = ["CASE", "growth", "measured", "table"]

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SAMPLE = 100_000
"""Jobs for which a size is measured at least, in several repetitions where it is smaller, up to ``MOST``."""
MOST = 9

Row = Mapping[str, float]
"""What was measured for one number of jobs."""


async def runs(jobs: int) -> float:
    """CPU seconds for one run, when so many are ready at the beginning."""
    pipeline, (done,) = chain(1, InProcessMetadataRepository({f"job{n:07}": {} for n in range(jobs)}))
    async with pipeline:
        gc.collect()
        began = time.process_time()
        await pipeline.run()
        took = time.process_time() - began
    assert len(done.data) == jobs
    return took / jobs


async def standing(jobs: int, events: int) -> Row:
    """What a chain of three costs whose jobs are all done."""
    at = Standing(jobs)
    gc.collect()
    async with at.watched():
        return {
            "first look, s": at.first_look,
            "idle round, us": await at.idle_round(200) * 1e6,
            "event, us": await at.event(events) * 1e6,
        }


async def memory(jobs: int) -> float:
    """Bytes that a controller holds for each job, values excluded."""
    at = Standing(jobs)
    gc.collect()
    tracemalloc.start()
    try:
        async with at.watched():
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / jobs
    finally:
        tracemalloc.stop()


async def measured(jobs: int, events: int = 1000) -> Row:
    """Measure everything for one number of jobs: the median, where small numbers are measured several times."""
    repeats = min(MOST, max(1, SAMPLE // jobs))
    rows = []
    for _ in range(repeats):
        rows.append({**await standing(jobs, events), "run, us": await runs(jobs) * 1e6})
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return {**medians, "memory of a job, bytes": await memory(jobs)}


def growth(name: str, sizes: Sequence[int], rows: Sequence[Row]) -> list[float]:
    """Give how much a measure has grown since the first row, for each growth of n log n: 1 is as fast.

    What is measured for one job, run or event counts for all of them.
    """
    totals = [row[name] * (size if _is_for_each(name) else 1) for size, row in zip(sizes, rows, strict=True)]
    return [
        (total / totals[0]) / (size * math.log(size) / (sizes[0] * math.log(sizes[0])))
        for size, total in zip(sizes, totals, strict=True)
    ]


def _is_for_each(name: str) -> bool:
    return name.startswith(("run,", "event,", "memory"))


def table(sizes: Sequence[int], rows: Sequence[Row]) -> str:
    """Give the rows as a table in Markdown: each figure, and its growth against n log n behind it."""
    lines = [f"| jobs | {' | '.join(rows[0])} |", "|---|" + "---|" * len(rows[0])]
    grown = {name: growth(name, sizes, rows) for name in rows[0]}
    for number, (size, row) in enumerate(zip(sizes, rows, strict=True)):
        cells = [f"{value:.4g} ({grown[name][number]:.2g})" for name, value in row.items()]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


async def measure() -> Figures:
    rows = []
    for size in SIZES:
        # What is left in memory by one size must not be looked through for the next.
        await asyncio.sleep(0)
        gc.collect()
        rows.append(await measured(size))
        sys.stderr.write(f"  {size:,} jobs: {rows[-1]}\n")
    sys.stderr.write(table(SIZES, rows))
    worst = {name: max(growth(name, SIZES, rows)[1:]) for name in rows[0]}
    return {
        "sizes": ", ".join(f"{size:,}" for size in SIZES),
        **{f"{name}, at {SIZES[-1]:,}": round(value, 3) for name, value in rows[-1].items()},
        **{f"{name.partition(',')[0]}, most growth by n log n": round(value, 3) for name, value in worst.items()},
    }


CASE = Case("growth", "no measure grows faster than n log n from 1,000 to 1,000,000 jobs: no growth above 1", measure)
