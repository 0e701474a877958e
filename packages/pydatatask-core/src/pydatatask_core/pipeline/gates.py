"""What keeps a task from starting anything at first: stores that are not open, attempts that are due later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping

from ..clock import now
from ..task.base import Task
from .events import Event, StoreBack
from .feed import Feed
from .lane import Lane, Wait
from .opening import Opening, stores_of

__all__ = ["Gates", "open_lane"]

_log = logging.getLogger("pydatatask.pipeline")


class Gates:
    """Which tasks wait for which stores, and what begins when a store is open."""

    def __init__(
        self, unopened: MutableMapping[str, Opening], emit: Callable[[Event], None], wake: Callable[[], None]
    ) -> None:
        """``unopened`` holds stores by location; those that come to be open are taken out."""
        self.unopened = unopened
        self._emit = emit
        self._wake = wake
        self._admitting = 0
        self._lacking: dict[str, set[str]] = {}

    def add(self, task: Task) -> None:
        """Have a task wait for those of its stores that are not open."""
        if self.unopened:
            self._lacking[task.name] = stores_of(task) & self.unopened.keys()

    def closed(self, task: Task) -> bool:
        """Tell whether a task waits."""
        return bool(self._lacking.get(task.name))

    def lacking(self, task: Task) -> dict[str, Exception]:
        """Give the stores that a task waits for, by location, and why they are not open."""
        waited_for = self._lacking.get(task.name, ())
        return {place: opening.error for place, opening in self.unopened.items() if place in waited_for}

    @property
    def busy(self) -> bool:
        """Whether a store is being opened for the first time, or is open and not yet listed."""
        return bool(self._admitting) or any(opening.attempt is not None for opening in self.unopened.values())

    def errors(self) -> list[Exception]:
        """Give why stores are not open."""
        return [opening.error for opening in self.unopened.values()]

    def follow(self, feeds: Iterable[Feed], begin: Callable[[str], Awaitable[None]]) -> list[asyncio.Task[None]]:
        """Try to open the stores, each for itself, until cancelled. ``begin`` lets a task of that name start jobs."""

        async def admit(opening: Opening) -> None:
            del self.unopened[opening.location]
            self._emit(StoreBack(opening.location))
            self._admitting += 1
            for feed in feeds:
                if feed.location == opening.location:
                    feed.admit()
                    await feed.wait_settled()
            for name, lacking in self._lacking.items():
                if opening.location in lacking:
                    lacking.discard(opening.location)
                    if not lacking:
                        await begin(name)
            self._admitting -= 1
            self._wake()

        return [asyncio.ensure_future(opening.follow(self._emit, admit)) for opening in self.unopened.values()]


async def open_lane(lane: Lane, only_now_ready: bool) -> None:
    """Let a lane start jobs; what an earlier controller planned to try again, not before its time."""
    try:
        planned = await lane.task.next_attempts()
    except Exception as error:  # noqa: BLE001  # the jobs start at once, which is better than not at all
        _log.warning("When task %s is to try which jobs again cannot be read: %s", lane.task.name, error)
        planned = {}
    time, moment = asyncio.get_running_loop().time(), now()
    for job, one in planned.items():
        left = (one.due - moment).total_seconds()
        if left > 0 and job not in lane.running:
            lane.not_before[job] = (time + left, Wait(one.failed, one.cause, one.error))
    lane.open(only_now_ready)
