"""Where a job is, and what became of its runs: what ``trace`` shows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from attrs import asdict, frozen
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.job import check_job
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.pipeline.standing import Standing
from pydatatask_core.repository.protocols import MetadataRepository, Repository
from pydatatask_core.repository.together import together
from pydatatask_core.task.function import FunctionTask
from pydatatask_core.task.run import RunTask

from .asking import Asked, ask_controller
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
    cause: str | None = None
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
    attempts: tuple[Run, ...] = ()
    """The attempts that failed before it, or so far, oldest first."""
    standing: Standing | None = None
    """What the controller says: whether a run is live, or what is waited for."""

    @property
    def begun(self) -> datetime | None:
        """When the first attempt began, if that is known."""
        known = [run.start_time for run in (*self.attempts, self.run) if run and run.start_time]
        if self.standing is not None and self.standing.since is not None:
            known.append(datetime.fromisoformat(self.standing.since))
        return min(known, key=_aware, default=None)


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
    asked: Asked
    """What came of asking the controller."""

    def data(self) -> dict[str, Any]:
        """Give the traces for a JSON document."""
        errors = {place: "; ".join(lines_of(error)) for place, error in self.errors.items()}
        return {"jobs": [asdict(job) for job in self.jobs], "controller": self.asked.data(), "errors": errors}


async def collect_traces(pipeline: Pipeline, jobs: Sequence[str], all_links: bool) -> Traces:
    """Ask every repository for the jobs, read their done records and failed attempts, and ask the controller.

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
    records = {task.name: await _read(task.done, held, errors) for task in order if isinstance(task, RunTask)}
    failed = {task.name: await _read(task.attempts, held, errors) for task in order if isinstance(task, FunctionTask)}
    traces = []
    asked = Asked()
    for job in jobs:
        asked = await ask_controller(pipeline, job=job)
        standings = {} if asked.told is None else asked.told.standings
        tasks = [
            TaskTrace(
                task.name,
                tuple(_presence(link, job, held[link.repo.location]) for link in links[task.name]),
                run_of(record) if (record := records.get(task.name, {}).get(job, _NONE)) is not _NONE else None,
                _attempts(record if record is not _NONE else {"attempts": failed.get(task.name, {}).get(job)}),
                standings.get(task.name),
            )
            for task in order
        ]
        traces.append(JobTrace(job, tuple(_by_time(tasks))))
    return Traces(tuple(traces), errors, asked)


_NONE = object()
"""No record, where one may be anything."""


async def holding(repo: Repository, jobs: Sequence[str]) -> list[str]:
    """Give those of the jobs that a repository holds, in their order."""
    found = await together(repo.contains, jobs, AT_ONCE)
    return [job for job, is_there in zip(jobs, found, strict=True) if is_there]


async def _ask(repo: Repository, jobs: Sequence[str]) -> list[str] | Exception:
    try:
        return await holding(repo, jobs)
    except Exception as error:  # noqa: BLE001  # shown; the other repositories are asked all the same
        return error


async def _read(
    repo: MetadataRepository | None, held: Mapping[str, list[str] | Exception], errors: dict[str, Exception]
) -> Mapping[str, Any]:
    """Give what a repository keeps of the jobs that it holds."""
    jobs = [] if repo is None else held[repo.location]
    if repo is None or isinstance(jobs, Exception):
        return {}
    try:
        return await read_some(repo, jobs)
    except Exception as error:  # noqa: BLE001  # as above
        errors[repo.location] = error
        return {}


def _attempts(record: object) -> tuple[Run, ...]:
    """Read the failed attempts that a record names."""
    attempts = record.get("attempts") if isinstance(record, Mapping) else None
    return tuple(run_of(one) for one in attempts) if isinstance(attempts, list | tuple) else ()


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
        cause=_as(str, data.get("cause")),
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
    known = [number for number, task in enumerate(tasks) if task.begun]
    ordered = list(tasks)
    for number, task in zip(known, sorted((tasks[number] for number in known), key=_start), strict=True):
        ordered[number] = task
    return ordered


def _start(task: TaskTrace) -> datetime:
    assert task.begun is not None
    return _aware(task.begun)


def _aware(moment: datetime) -> datetime:
    """Take a moment that names no timezone, as a record of another origin may, for UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
