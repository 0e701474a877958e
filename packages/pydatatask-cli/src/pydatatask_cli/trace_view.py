"""How ``trace`` looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC

from .asking_view import headline, standing_line
from .progress import duration
from .trace import JobTrace, Run, TaskTrace

__all__ = ["trace_lines"]


def trace_lines(trace: JobTrace) -> Iterator[str]:
    """Give one job's way: per task what became of its run, and the repositories that hold the job."""
    yield trace.job
    wide = max((len(task.task) for task in trace.tasks), default=0)
    for task in trace.tasks:
        yield f"  {task.task:{wide}}  {_run(task)}"
        for number, attempt in enumerate(task.attempts, 1):
            yield f"    attempt {attempt.attempt or number}: {', '.join(_parts(attempt, numbered=False))}"
        if task.standing is not None and task.standing.kind != "live":
            yield f"    {standing_line(task.standing)}"
        yield from _links(task)
    yield ""


def _links(task: TaskTrace) -> Iterator[str]:
    shown = [link for link in task.links if link.present is not False]
    wide = max((len(link.name) for link in shown), default=0)
    for link in shown:
        yield f"    {link.name:{wide}}  {link.role}{'' if link.present else ' (unreachable)'}"


def _run(task: TaskTrace) -> str:
    if task.standing is not None:
        live = task.standing.kind == "live"
        return standing_line(task.standing) if live else headline(task.standing)
    if task.run is not None:
        return ", ".join(_parts(task.run))
    if any(link.present for link in task.links):
        return "no run has ended" if task.attempts else "no run on record"
    return "unknown" if any(link.present is None for link in task.links) else "not there"


def _parts(run: Run, numbered: bool = True) -> Iterator[str]:
    yield f"{run.result}: {run.exception}" if run.exception else run.result
    if run.return_code:
        yield f"exit code {run.return_code}"
    if numbered and run.attempt is not None and run.attempt > 1:
        yield f"attempt {run.attempt}"
    if run.start_time is not None:
        yield f"started {run.start_time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if run.seconds is not None:
        yield f"took {duration(run.seconds)}"
    if run.host is not None:
        yield f"on {run.host}"
