"""Ending runs on purpose: what ``kill`` does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydatatask_core.errors import LockHeldError
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.task.base import Task
from pydatatask_core.task.run import Ended

from . import output
from .errors import UsageError
from .exits import ExitCode
from .progress import ending

__all__ = ["kill_runs", "outside"]

PATIENCE = 30.0
"""Seconds beyond a task's grace that a controller may take to record the end of a run."""
LOOK = 0.2
"""Seconds between two looks whether it has."""


def outside(task: Task) -> SiteTask[object]:
    """Give a task whose runs happen on a site.

    :raises UsageError: if they happen in the controller.
    """
    if not isinstance(task, SiteTask):
        raise UsageError(
            f"Runs of {task.name} happen in the process that runs the pipeline, and cannot be reached one by one. "
            "Ctrl-C there stops them."
        )
    return task


async def kill_runs(pipeline: Pipeline, task: SiteTask[object], jobs: Sequence[str]) -> ExitCode:
    """End the live runs of jobs, and see their ends recorded: by the controller that runs, or else by us.

    :raises SiteUnavailableError: if the site cannot be asked.
    """
    ended = [job for job in jobs if await task.end(job, "cancelled")]
    for job in jobs:
        if job not in ended:
            output.complain(f"{task.name} {job}: no run is live, and no attempt waited for")
    if not ended:
        return ExitCode.NOTHING
    try:
        async with pipeline.locked():
            recorded = await _record(task, ended)
    except LockHeldError as error:
        recorded = await _wait(task, ended, str(error))
    return ExitCode.OK if recorded and len(ended) == len(jobs) else ExitCode.FAILED


async def _record(task: SiteTask[object], jobs: Sequence[str]) -> bool:
    """Reap runs that are ending. What has gone at once is not followed: to follow it would be to start it anew."""
    try:
        there = set(await task.live_jobs())
        left = [job for job in jobs if job in there]
        ends = await asyncio.gather(*(task.run(job) for job in left))
    finally:
        await task.released()
    for job, end in zip(left, ends, strict=True):
        output.narrate(f"{task.name} {job}: {ending(end.record) if isinstance(end, Ended) else 'ended'}")
    for job in jobs:
        if job not in there:
            output.complain(f"{task.name} {job}: ended, and nothing is left of its run to make a record of")
    return len(left) == len(jobs)


async def _wait(task: SiteTask[object], jobs: Sequence[str], holder: str) -> bool:
    """Wait until another controller has recorded the ends."""
    waiting = list(jobs)
    try:
        async with asyncio.timeout(task.grace + PATIENCE):
            while waiting:
                # Nothing announces what another process writes to a store of any kind.
                still = [job for job in waiting if await task.site.look(task.name, job)]
                for job in waiting:
                    if job not in still:
                        output.narrate(f"{task.name} {job}: cancelled")
                waiting = still
                await asyncio.sleep(LOOK if waiting else 0)
    except TimeoutError:
        output.complain(
            f"{task.name} {', '.join(waiting)}: told to end; the controller has not recorded it yet. {holder}"
        )
    return not waiting
