"""One job, started by hand: what ``launch`` does."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager, nullcontext

from pydatatask_core.pipeline.opening import stores_of
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.task.base import Task
from pydatatask_core.task.run import Again, Ended, RunTask

from . import output
from .exits import ExitCode
from .judge import Verdict
from .progress import duration, ending
from .why import explain

__all__ = ["changing", "launch_job", "refusal"]

ROUND = 1.0
"""Seconds between two looks after a task of a user's own class."""


def changing(pipeline: Pipeline) -> AbstractAsyncContextManager[None]:
    """Hold the pipeline's lock while something is changed by hand.

    In a pod nothing is held: there ``launch`` is how the controller, which holds the lock, has a function run.
    """
    return nullcontext() if "KUBERNETES_SERVICE_HOST" in os.environ else pipeline.locked()


async def launch_job(
    pipeline: Pipeline, task: Task, job: str, *, synchronous: bool, metadata: bool, force: bool
) -> ExitCode:
    """Run one attempt of a task on a job and wait for it, if the job is ready or ``force`` is given.

    The pipeline's settings are changed as given.

    :raises JobIdError: if it is no valid job id.
    :raises StoreUnavailableError: if whether it is ready cannot be told, or a store of the task does not answer.
    """
    unreachable = await pipeline.settled()
    for location in sorted(stores_of(task) & unreachable.keys()):
        raise unreachable[location]
    if not force:
        verdict = await explain(pipeline, task, job)
        if verdict.errors:
            raise verdict.errors[0]
        if not verdict.ready:
            for line in refusal(verdict):
                output.narrate(line)
            return ExitCode.FAILED
    pipeline.settings(synchronous, metadata)
    if isinstance(task, SiteTask):
        task.forced = force
        await task.live_jobs()
        try:
            return await _run(task, job)
        finally:
            await task.released()
    if isinstance(task, RunTask):
        return await _run(task, job)
    await task.launch(job)
    live = await task.update()
    while live:
        await asyncio.sleep(ROUND)
        live = await task.update()
    return ExitCode.OK


def refusal(verdict: Verdict) -> list[str]:
    """Say why a job is not started."""
    lines = [f"{verdict.task} is not ready to start on {verdict.job}:"]
    for condition in verdict.conditions:
        if condition.satisfied is not True:
            remedy = f" ({condition.remedy})" if condition.remedy else ""
            lines.append(f"  {condition.cause}{remedy}")
    return [*lines, "Use --force to start it all the same."]


async def _run(task: RunTask, job: str) -> ExitCode:
    end = await task.run(job)
    if isinstance(end, Ended):
        took = duration((end.record.end_time - end.record.start_time).total_seconds())
        output.narrate(f"{task.name} {job}: {ending(end.record)} in {took}")
        return ExitCode.OK if end.record.succeeded else ExitCode.FAILED
    if isinstance(end, Again):
        output.narrate(f"{task.name} {job}: {ending(end.record)}; the next run tries again")
    else:
        output.narrate(f"{task.name} {job}: taken back before it began")
    return ExitCode.FAILED
