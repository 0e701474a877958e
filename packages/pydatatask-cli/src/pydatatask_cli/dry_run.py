"""What a run would start now: ``run --dry-run``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import asdict
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.pipeline.plan import Planned, plan

from . import output
from .exits import ExitCode
from .status_view import narrate_errors

__all__ = ["show_plan"]

MOST = 5
"""Jobs that are named for each task; with ``--json`` all are."""


async def show_plan(pipeline: Pipeline, as_json: bool) -> ExitCode:
    """Show what a run would start, why, and what that would unlock. Nothing is started or written.

    What depends on a store that cannot be asked is left out, and the store is named.

    :raises StoreUnavailableError: if what decides whether a job is ready cannot be asked.
    """
    async with pipeline.reading():
        found = await plan(pipeline)
    if as_json:
        for job in found.jobs:
            output.record(asdict(job))
    else:
        output.lines(_lines(found.jobs))
        if not found.jobs and not found.unreachable:
            output.narrate("Nothing would start.")
    narrate_errors(found.unreachable)
    return ExitCode.UNREACHABLE if found.unreachable else ExitCode.OK


def _lines(planned: Sequence[Planned]) -> Iterator[str]:
    for name, group in groupby(planned, key=lambda job: job.task):
        jobs = list(group)
        now = [job for job in jobs if job.held_back_by is None]
        because = ", ".join(jobs[0].because) or "its own rule"
        yield f"{name}: {_count(now)} would start now, because of {because}"
        yield f"  {_named(jobs)}"
        for lacking in dict.fromkeys(job.held_back_by for job in jobs if job.held_back_by is not None):
            yield f"  {_count([job for job in jobs if job.held_back_by == lacking])} would wait for {lacking}"
        for unlocked in dict.fromkeys(task for job in jobs for task in job.unlocks):
            yield f"  would unlock {unlocked} on {_count([job for job in jobs if unlocked in job.unlocks])}"


def _count(jobs: Sequence[Planned]) -> str:
    return f"{len(jobs):,} {'job' if len(jobs) == 1 else 'jobs'}"


def _named(jobs: Sequence[Planned]) -> str:
    return ", ".join(job.job for job in jobs[:MOST]) + (", ..." if len(jobs) > MOST else "")
