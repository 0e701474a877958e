"""What a run would do now, found out without starting or writing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from attrs import frozen

from ..errors import PydatataskError
from ..repository.expression import leaves
from ..task.base import success_filter
from ..task.run import RunTask
from .controller import Controller
from .lane import Lane
from .pipeline import Pipeline
from .quota import ResourceManager, Resources

__all__ = ["Plan", "Planned", "plan"]


@frozen
class Planned:
    """A job that a task would start now, or as soon as there is room."""

    task: str
    job: str
    held_back_by: str | None
    """What it would wait for: ``cpu``, ``mem``, ``launches``, ``max_concurrent``, or why that
    cannot be told. None if it would start at once."""
    because: tuple[str, ...]
    """The links whose repositories hold the job, as they must for it to start."""
    unlocks: tuple[str, ...]
    """The tasks that could start on the same job, were it to succeed."""


@frozen
class Plan:
    """What a run would do now, as far as it can be told."""

    jobs: tuple[Planned, ...]
    unreachable: Mapping[str, Exception]
    """Why stores cannot be asked, by location. What depends on them is not among the jobs."""


async def plan(pipeline: Pipeline) -> Plan:
    """Tell what a run would start now, and why. The pipeline's session must be open; nothing is written."""
    controller = Controller(list(pipeline.tasks.values()), priority=pipeline.priority)
    await controller.look()
    used: dict[ResourceManager, Resources] = {}
    planned = tuple([one for lane in controller.lanes async for one in _of_lane(controller, lane, used)])
    return Plan(planned, {feed.location: feed.error for feed in controller.feeds if feed.error is not None})


async def _of_lane(
    controller: Controller, lane: Lane, used: dict[ResourceManager, Resources]
) -> AsyncIterator[Planned]:
    task = lane.task
    because = tuple(name for name, link in task.links.items() if link.required_for_start)
    if task.disabled:
        return
    started = 0
    for job in lane.ready_jobs():
        held = await _held_back_by(task, job, started, used)
        started += held is None
        yield Planned(task.name, job, held, because, _unlocked(controller, task, job))


async def _held_back_by(task: RunTask, job: str, started: int, used: dict[ResourceManager, Resources]) -> str | None:
    if task.max_concurrent is not None and started >= task.max_concurrent:
        return "max_concurrent"
    manager = task.resource_manager
    if manager is None:
        return None
    try:
        cost = task.cost(job) or await task.ask_cost(job)
    except PydatataskError as error:
        return f"its resources, which cannot be told: {error}"
    launches = 1 if cost.launches is None else cost.launches
    wanted = used.get(manager, manager.used) + Resources(cost.cpu, cost.mem, launches)
    lacking = wanted.exceeding(manager.quota)
    if lacking is None:
        used[manager] = wanted
    return lacking


def _unlocked(controller: Controller, task: RunTask, job: str) -> tuple[str, ...]:
    """Work out what becomes ready when the task's outputs and its record are there."""
    written = [link.repo for link in task.links.values() if link.is_output or link.is_status]
    stores = {leaf.location for repo in written for leaf in leaves(repo.expression)}
    asks = () if task.done is None else (controller.readiness.compiled.filter_ask(success_filter(task.done)),)
    ready = controller.readiness.ready_if(job, stores, [ask for ask in asks if ask is not None])
    return tuple(name for name in ready if name != task.name)
