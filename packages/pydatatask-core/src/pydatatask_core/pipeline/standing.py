"""How jobs stand with a controller: live, waiting for a retry or a quota, set aside."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, Literal

from attrs import asdict, evolve, frozen

from ..clock import elapsed, now
from ..task.base import Task
from .controller import Controller
from .lane import Lane, Shortage, Wait

__all__ = ["Crowd", "Kind", "Standing", "crowds_of", "standing_of"]

Kind = Literal["live", "retry", "quota", "set aside", "queued", "starting", "undecided", "held"]
"""What a job does or waits for: its run, its next attempt, room in a quota, somebody to look at what went wrong, its
turn under ``max_concurrent``, nothing, an answer of a store, or a controller that starts this task at all."""

LONG = 500
"""Characters of an error that are told."""

EXAMPLES = 3
GROUPS = 20
"""Groups of one task that are told apart."""


@frozen(kw_only=True)
class Standing:
    """How one job stands, or what many have in common."""

    kind: Kind
    since: str | None = None
    """When the run began: ISO 8601, UTC."""
    attempt: int | None = None
    """The number of the attempt that is live, or that failed last."""
    cause: str | None = None
    """Of the attempt that failed last."""
    error: str | None = None
    """What went wrong; of a live run, what keeps it from beginning."""
    due: str | None = None
    """When the next attempt is due: ISO 8601, UTC."""
    lacking: str | None = None
    """What of the quota is waited for: ``cpu``, ``mem``, ``launches``, ``a job of higher priority``."""
    needs: str | None = None
    in_use: str | None = None
    quota: str | None = None
    most: int | None = None
    """The most jobs of the task at a time."""

    @classmethod
    def read(cls, data: Any) -> Standing:
        """Make one of what a controller answered.

        :raises TypeError: if that is not what it is.
        """
        return cls(**data)

    def data(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)


@frozen(kw_only=True)
class Crowd:
    """Jobs that stand alike."""

    standing: Standing
    """What they have in common, with the earliest times among them."""
    jobs: int
    examples: tuple[str, ...]

    @classmethod
    def read(cls, data: Any) -> Crowd:
        """Make one of what a controller answered.

        :raises TypeError: if that is not what it is.
        :raises KeyError: likewise.
        """
        return cls(standing=Standing.read(data["standing"]), jobs=data["jobs"], examples=tuple(data["examples"]))

    def data(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)


def standing_of(controller: Controller, task: Task, job: str) -> Standing | None:
    """Tell how a job stands with a task. None if the controller has nothing to do with it: its stores tell why."""
    for guest in controller.guests:
        if guest.task is task and job in guest.failures:
            return Standing(kind="set aside", error=_brief(guest.failures[job]))
    lane = next((lane for lane in controller.lanes if lane.task is task), None)
    if lane is None:
        return None
    if job in lane.running:
        return _live(lane, job)
    if job in lane.waiting:
        return _retry(lane, job)
    if job in lane.set_aside:
        return Standing(kind="set aside", error=_brief(lane.set_aside[job]))
    undecided = controller.undecided(job)
    if undecided is not None:
        return Standing(kind="undecided", error=_brief(undecided))
    if not lane.is_ready(job):
        return None
    for shortage in lane.shortages():
        if job in shortage.jobs:
            return _short(shortage)
    return _next(controller, lane, job)


def crowds_of(controller: Controller, task: Task) -> list[Crowd]:
    """Group the jobs that a controller has to do with by how they stand with a task. A pass over those jobs."""
    groups: dict[object, Crowd] = {}
    for job, standing in _each(controller, task):
        # Jobs differ in when they began and when they are due, and errors in the job that they name.
        standing = evolve(standing, error=standing.error and _of_any(standing.error, job))
        key = evolve(standing, since=None, due=None)
        crowd = groups.get(key)
        if crowd is None:
            key = key if len(groups) < GROUPS else evolve(standing, since=None, due=None, error="for other reasons")
            crowd = groups.get(key, Crowd(standing=standing, jobs=0, examples=()))
        groups[key] = _joined(crowd, job, standing)
    found = list(groups.values())
    lane = next((lane for lane in controller.lanes if lane.task is task), None)
    if lane is not None:
        found += _waiting_for_room(controller, lane)
    return sorted(found, key=lambda crowd: -crowd.jobs)


def _each(controller: Controller, task: Task) -> Iterator[tuple[str, Standing]]:
    for guest in controller.guests:
        if guest.task is task:
            for job, error in guest.failures.items():
                yield job, Standing(kind="set aside", error=_brief(error))
    for lane in controller.lanes:
        if lane.task is task:
            yield from ((job, _live(lane, job)) for job in lane.running)
            yield from ((job, _retry(lane, job)) for job in lane.waiting)
            for job, error in lane.set_aside.items():
                yield job, Standing(kind="set aside", error=_brief(error))


def _waiting_for_room(controller: Controller, lane: Lane) -> Iterator[Crowd]:
    blocked = 0
    for shortage in lane.shortages():
        blocked += len(shortage.jobs)
        examples = tuple(islice(filter(lane.is_ready, shortage.jobs), EXAMPLES))
        yield Crowd(standing=_short(shortage), jobs=len(shortage.jobs), examples=examples)
    ready = controller.readiness.ready_counts()[controller.readiness.tasks.index(lane.task.name)]
    ready_besides = [job for job in (*lane.running, *lane.waiting, *lane.set_aside) if lane.is_ready(job)]
    queued = ready - len(ready_besides) - blocked
    if queued > 0:
        besides = {*lane.running, *lane.waiting, *lane.set_aside}
        waiting = (job for job in lane.queued if job not in besides and lane.is_ready(job))
        examples = tuple(dict.fromkeys(islice(waiting, EXAMPLES)))
        yield Crowd(standing=_next(controller, lane, examples[0] if examples else ""), jobs=queued, examples=examples)


def _joined(crowd: Crowd, job: str, standing: Standing) -> Crowd:
    since = min(filter(None, (crowd.standing.since, standing.since)), default=None)
    due = min(filter(None, (crowd.standing.due, standing.due)), default=None)
    examples = crowd.examples if len(crowd.examples) >= EXAMPLES else (*crowd.examples, job)
    return Crowd(standing=evolve(crowd.standing, since=since, due=due), jobs=crowd.jobs + 1, examples=examples)


def _live(lane: Lane, job: str) -> Standing:
    begun = lane.running[job]
    since = None if begun is None else _moment(now() - timedelta(seconds=elapsed() - begun))
    obstacle = lane.task.waits_for(job)
    error = None if obstacle is None else _brief(obstacle)
    return Standing(kind="live", since=since, attempt=lane.task.attempt_of(job), error=error)


def _retry(lane: Lane, job: str) -> Standing:
    wait: Wait = lane.waits[job]
    due = now() + timedelta(seconds=lane.waiting[job].when() - asyncio.get_running_loop().time())
    error = None if wait.error is None else _brief(wait.error)
    return Standing(kind="retry", attempt=wait.attempt, cause=wait.cause, error=error, due=_moment(due))


def _short(shortage: Shortage) -> Standing:
    return Standing(
        kind="quota",
        lacking=shortage.lacking,
        needs=str(shortage.cost),
        in_use=str(shortage.used),
        quota=str(shortage.quota),
    )


def _next(controller: Controller, lane: Lane, job: str) -> Standing:
    """Say what keeps a job that is ready from starting."""
    if controller.stopping:
        return Standing(kind="held", error="the controller is stopping, and starts nothing more")
    lacking = controller.gates.lacking(lane.task)
    if lacking:
        stores = "; ".join(f"{place} is not open yet: {error}" for place, error in lacking.items())
        return Standing(kind="held", error=_brief(stores))
    unseen = controller.unseen(lane.task)
    if unseen is not None:
        return Standing(kind="held", error=_brief(unseen))
    if lane.held:
        return Standing(kind="held", error="this controller does not start it")
    if lane.only is not None and job not in lane.only:
        return Standing(kind="held", error="it came too late for this round")
    if lane.full:
        return Standing(kind="queued", most=lane.task.max_concurrent)
    return Standing(kind="starting")


def _of_any(error: str, job: str) -> str:
    """Make the errors of several jobs alike that differ in nothing but the job."""
    return re.sub(rf"(?<![\w.-]){re.escape(job)}(?![\w.-])", "JOB", error) if job in error else error


def _moment(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds"))


def _brief(error: object) -> str:
    text = str(error).strip().partition("\n")[0]
    return text if len(text) <= LONG else f"{text[: LONG - 3]}..."
