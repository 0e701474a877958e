"""Where a job is, and what became of its runs: what ``trace`` shows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from attrs import asdict, frozen
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.job import check_job
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.repository.protocols import MetadataRepository, Repository
from pydatatask_core.repository.together import together
from pydatatask_core.task.base import RunTask

from .exits import lines_of
from .names import NamedLink, links_in_order
from .records import AT_ONCE, read_some, result_of

__all__ = ["JobTrace", "Presence", "Run", "TaskTrace", "Traces", "collect_traces", "holding", "run_of"]

T = TypeVar("T")


@frozen
class Presence:
    """Whether one link's repository holds the job."""

    name: str
    role: str
    location: str
    present: bool | None
    """None if the repository cannot be asked."""


@frozen
class Run:
    """What a done record says, as far as it says it."""

    result: str
    attempt: int | None = None
    return_code: int | None = None
    exception: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    seconds: float | None = None
    host: str | None = None


@frozen
class TaskTrace:
    """A job as one task sees it."""

    task: str
    links: tuple[Presence, ...]
    run: Run | None
    """None if no run is on record."""


@frozen
class JobTrace:
    """A job's way through the pipeline: tasks in the order in which they ran or will."""

    job: str
    tasks: tuple[TaskTrace, ...]

    @property
    def found(self) -> bool:
        """Whether any repository holds the job."""
        return any(link.present for task in self.tasks for link in task.links)


@frozen
class Traces:
    """The ways of several jobs."""

    jobs: tuple[JobTrace, ...]
    errors: Mapping[str, Exception]
    """Why repositories cannot be asked, by location."""

    def data(self) -> dict[str, Any]:
        """Give the traces for a JSON document."""
        errors = {place: "; ".join(lines_of(error)) for place, error in self.errors.items()}
        return {"jobs": [asdict(job) for job in self.jobs], "errors": errors}


async def collect_traces(pipeline: Pipeline, jobs: Sequence[str], all_links: bool) -> Traces:
    """Ask every repository for the jobs, and read their done records.

    :param all_links: also those that are neither input, nor status, nor output.
    :raises JobIdError: if one is no valid job id.
    """
    for job in jobs:
        check_job(job)
    order = [pipeline.tasks[name] for name in pipeline.graph.topological()]
    links = {task.name: links_in_order(task, all_links) for task in order}
    repos = {link.repo.location: link.repo for of_task in links.values() for link in of_task}
    held = dict(zip(repos, await asyncio.gather(*(_ask(repo, jobs) for repo in repos.values())), strict=True))
    errors = {place: found for place, found in held.items() if isinstance(found, Exception)}
    records: dict[str, Mapping[str, Any]] = {}
    for task in order:
        if isinstance(task, RunTask) and task.done is not None:
            present = held[task.done.location]
            if not isinstance(present, Exception):
                records[task.name] = await _read(task.done, present, errors)
    traces = []
    for job in jobs:
        tasks = [
            TaskTrace(
                task.name,
                tuple(_presence(link, job, held[link.repo.location]) for link in links[task.name]),
                run_of(records[task.name][job]) if job in records.get(task.name, {}) else None,
            )
            for task in order
        ]
        traces.append(JobTrace(job, tuple(_by_time(tasks))))
    return Traces(tuple(traces), errors)


async def holding(repo: Repository, jobs: Sequence[str]) -> list[str]:
    """Give those of the jobs that a repository holds, in their order."""
    found = await together(repo.contains, jobs, AT_ONCE)
    return [job for job, is_there in zip(jobs, found, strict=True) if is_there]


async def _ask(repo: Repository, jobs: Sequence[str]) -> list[str] | Exception:
    try:
        return await holding(repo, jobs)
    except Exception as error:  # noqa: BLE001  # shown; the other repositories are asked all the same
        return error


async def _read(done: MetadataRepository, jobs: list[str], errors: dict[str, Exception]) -> Mapping[str, Any]:
    try:
        return await read_some(done, jobs)
    except Exception as error:  # noqa: BLE001  # as above
        errors[done.location] = error
        return {}


def _presence(link: NamedLink, job: str, held: list[str] | Exception) -> Presence:
    present = None if isinstance(held, Exception) else job in held
    return Presence(link.name, link.role, link.repo.location, present)


def run_of(data: object) -> Run:
    """Read a stored done record, or the error that stands for one that cannot be read."""
    if isinstance(data, MalformedValueError):
        return Run(result_of(data), exception=str(data))
    if not isinstance(data, Mapping):
        return Run(result_of(data))
    start, end = _as(datetime, data.get("start_time")), _as(datetime, data.get("end_time"))
    exception = _as(str, data.get("exception"))
    return Run(
        result=result_of(data),
        attempt=_as(int, data.get("attempt")),
        return_code=_as(int, data.get("return_code")),
        exception=exception.strip().partition("\n")[0] if exception else None,
        start_time=start,
        end_time=end,
        seconds=(end - start).total_seconds() if start and end else None,
        host=_as(str, data.get("host")) or _as(str, data.get("node")),
    )


def _as(kind: type[T], value: object) -> T | None:
    """Give the value if it is of that kind: what a record of another release holds is not ours to trust."""
    return value if isinstance(value, kind) else None


def _by_time(tasks: list[TaskTrace]) -> list[TaskTrace]:
    """Put those whose start is known in order of time; the others keep their places."""
    known = [number for number, task in enumerate(tasks) if task.run and task.run.start_time]
    ordered = list(tasks)
    for number, task in zip(known, sorted((tasks[number] for number in known), key=_start), strict=True):
        ordered[number] = task
    return ordered


def _start(task: TaskTrace) -> datetime:
    assert task.run is not None
    assert task.run.start_time is not None
    return task.run.start_time
