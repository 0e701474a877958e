"""How many jobs each repository of a pipeline holds, and how runs ended: what ``status`` shows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from attrs import asdict, field, frozen
from pydatatask_core.pipeline.lock import Holder, PipelineLock
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.pipeline.standing import Crowd
from pydatatask_core.repository.protocols import MetadataRepository, Repository
from pydatatask_core.task.run import RunTask

from .asking import Asked, ask_controller
from .exits import lines_of
from .names import links_in_order
from .records import read_all, result_of

__all__ = ["LinkStatus", "LockStatus", "PipelineStatus", "TaskStatus", "collect_status"]


T = TypeVar("T")
F = TypeVar("F")


@frozen
class LinkStatus:
    """What one link's repository holds."""

    name: str
    role: str
    location: str
    jobs: int | None
    """None if the repository cannot be asked."""
    error: str | None = None


@frozen
class TaskStatus:
    """One task's repositories."""

    name: str
    disabled: bool
    links: tuple[LinkStatus, ...]
    results: Mapping[str, int] | None = None
    """How many runs ended how; None if that was not asked for, or cannot be told."""


@frozen
class LockStatus:
    """What lets one controller at a time drive the pipeline, and which one does now."""

    guards: str
    holder: Holder | None


@frozen
class PipelineStatus:
    """All tasks of a pipeline."""

    tasks: tuple[TaskStatus, ...]
    errors: Mapping[str, Exception]
    """Why repositories cannot be asked, by location."""
    lock: LockStatus | None = None
    """None if nothing keeps controllers apart, or it cannot be asked."""
    asked: Asked = field(factory=Asked)
    """What came of asking the controller."""

    @property
    def crowds(self) -> Mapping[str, tuple[Crowd, ...]]:
        """How the controller says that jobs stand, by task; tasks with none left out."""
        told = self.asked.told
        return {} if told is None else {name: crowds for name, crowds in told.crowds.items() if crowds}

    def data(self) -> dict[str, Any]:
        """Give the status for a JSON document."""
        lock = None if self.lock is None else asdict(self.lock)
        standings = {name: [crowd.data() for crowd in crowds] for name, crowds in self.crowds.items()}
        tasks = [asdict(task) for task in self.tasks]
        return {"tasks": tasks, "lock": lock, "controller": self.asked.data(), "standings": standings}


async def collect_status(pipeline: Pipeline, all_links: bool, results: bool = False) -> PipelineStatus:
    """List every repository once, all at the same time. One that cannot be asked does not keep the others.

    :param all_links: also those that are neither input, nor status, nor output.
    :param results: read the done records, to count how runs ended.
    """
    links = {task.name: links_in_order(task, all_links) for task in pipeline.tasks.values()}
    repos = {link.repo.location: link.repo for of_task in links.values() for link in of_task}
    counts = await _for_each(repos, _count)
    done: dict[str, Repository] = {}
    if results:
        tasks = [task for task in pipeline.tasks.values() if isinstance(task, RunTask) and task.done is not None]
        done = {task.name: task.done for task in tasks if task.done is not None}
    endings = await _for_each(done, _count_results)
    errors = {place: found for place, found in counts.items() if isinstance(found, Exception)}
    errors |= {done[name].location: found for name, found in endings.items() if isinstance(found, Exception)}
    lock = await _for_each({} if pipeline.lock is None else {"the lock": pipeline.lock}, _look_at_lock)
    errors |= {place: found for place, found in lock.items() if isinstance(found, Exception)}
    return PipelineStatus(
        tuple(
            TaskStatus(
                task.name,
                task.disabled,
                tuple(_link(link.name, link.role, link.repo.location, counts) for link in links[task.name]),
                found if isinstance(found := endings.get(task.name), Mapping) else None,
            )
            for task in pipeline.tasks.values()
        ),
        errors,
        next((found for found in lock.values() if isinstance(found, LockStatus)), None),
        await ask_controller(pipeline),
    )


async def _look_at_lock(lock: PipelineLock) -> LockStatus:
    return LockStatus(lock.guards, await lock.holder())


def _link(name: str, role: str, location: str, counts: Mapping[str, int | Exception]) -> LinkStatus:
    found = counts[location]
    if isinstance(found, Exception):
        return LinkStatus(name, role, location, None, "; ".join(lines_of(found)))
    return LinkStatus(name, role, location, found)


async def _for_each(things: Mapping[str, T], look: Callable[[T], Coroutine[Any, Any, F]]) -> dict[str, F | Exception]:
    found = await asyncio.gather(*(look(thing) for thing in things.values()), return_exceptions=True)
    told: dict[str, F | Exception] = {}
    for name, one in zip(things, found, strict=True):
        if isinstance(one, BaseException) and not isinstance(one, Exception):
            raise one
        told[name] = one
    return told


async def _count(repo: Repository) -> int:
    count = 0
    async for page in repo.pages():
        count += len(page)
    return count


async def _count_results(repo: Repository) -> Mapping[str, int]:
    assert isinstance(repo, MetadataRepository)
    infos = await read_all(repo)
    return dict(sorted(Counter(map(result_of, infos.values())).items()))
