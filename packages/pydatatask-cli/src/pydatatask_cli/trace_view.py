"""How ``trace`` looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from .progress import duration
from .trace import JobTrace, Run, TaskTrace

__all__ = ["trace_lines"]


def trace_lines(trace: JobTrace) -> Iterator[str]:
    """Give one job's way: per task what became of its run, and the repositories that hold the job."""
    yield trace.job
    wide = max((len(task.task) for task in trace.tasks), default=0)
    for task in trace.tasks:
        yield f"  {task.task:{wide}}  {_run(task)}"
        yield from _links(task)
    yield ""


def _links(task: TaskTrace) -> Iterator[str]:
    shown = [link for link in task.links if link.present is not False]
    wide = max((len(link.name) for link in shown), default=0)
    for link in shown:
        yield f"    {link.name:{wide}}  {link.role}{'' if link.present else ' (unreachable)'}"


def _run(task: TaskTrace) -> str:
    if task.run is not None:
        return ", ".join(_parts(task.run))
    if any(link.present for link in task.links):
        return "no run on record"
    return "unknown" if any(link.present is None for link in task.links) else "not there"


def _parts(run: Run) -> Iterator[str]:
    yield f"{run.result}: {run.exception}" if run.exception else run.result
    if run.return_code:
        yield f"exit code {run.return_code}"
    if run.attempt is not None and run.attempt > 1:
        yield f"attempt {run.attempt}"
    if run.start_time is not None:
        yield f"started {run.start_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if run.seconds is not None:
        yield f"took {duration(run.seconds)}"
    if run.host is not None:
        yield f"on {run.host}"
