"""What earlier controllers left running: found before anything is started, so that quotas count it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ..errors import SiteCredentialsError, SiteUnavailableError
from ..task.base import Task
from .events import Event, StoreBack, StoreUnreachable
from .lane import Lane

__all__ = ["Adoption"]

_log = logging.getLogger("pydatatask.pipeline")

FIRST = 20.0
"""Seconds that all tasks wait for the sites of some. A site that takes longer keeps only its own tasks waiting."""

LONGEST = 60.0
"""Seconds between two attempts to see a site, at most."""


class Adoption:
    """Finds the live runs of each task, and keeps tasks from starting while their site cannot be seen."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._unseen: dict[str, SiteUnavailableError] = {}

    def errors(self) -> list[Exception]:
        """Give why sites cannot be seen."""
        return list(self._unseen.values())

    def lacking(self, task: Task) -> SiteUnavailableError | None:
        """Give why a task's site cannot be seen, if it cannot."""
        return self._unseen.get(task.name)

    async def begin(self, lanes: Iterable[Lane], leaving: bool, thaw: Callable[[str], Awaitable[None]]) -> Followers:
        """Look at every task's site, all at the same time; those that cannot be seen are looked at again and again.

        :param leaving: runs elsewhere are not waited for.
        :param thaw: lets a task of that name start jobs.
        :returns: what goes on in the background, to be cancelled.
        :raises SiteCredentialsError: if a site refuses us, which is a mistake to be told; several of them in a group.
        """
        lanes = list(lanes)
        for lane in lanes:
            lane.task.leaving = leaving
        await asyncio.gather(*(self._look(lane, FIRST) for lane in lanes))
        self._raise_refusals()
        return [asyncio.ensure_future(self._insist(lane, thaw)) for lane in lanes if lane.task.name in self._unseen]

    def _raise_refusals(self) -> None:
        # Tasks of one site share the error.
        refusals = {error for error in self._unseen.values() if isinstance(error, SiteCredentialsError)}
        if len(refusals) == 1:
            raise refusals.pop()
        if refusals:
            raise ExceptionGroup(f"{len(refusals)} sites refuse us", sorted(refusals, key=str))

    async def _look(self, lane: Lane, at_most: float | None) -> None:
        task = lane.task
        try:
            async with asyncio.timeout(at_most):
                jobs = await task.live_jobs()
        except TimeoutError:
            self._fail(lane, SiteUnavailableError(f"The site of task {task.name} did not answer in {at_most} s."))
        except SiteUnavailableError as error:
            self._fail(lane, error)
        else:
            self._unseen.pop(task.name, None)
            for job in jobs:
                lane.adopt(job)

    def _fail(self, lane: Lane, error: SiteUnavailableError) -> None:
        self._unseen[lane.task.name] = error
        lane.held = True

    async def _insist(self, lane: Lane, thaw: Callable[[str], Awaitable[None]]) -> None:
        delay = 1.0
        name = lane.task.name
        place = f"site of {name}"
        while (error := self._unseen.get(name)) is not None:
            _log.warning(
                "Task %s starts nothing before its site answers; tried again in %.0f s: %s", name, delay, error
            )
            self._emit(StoreUnreachable(place, error, delay))
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST)
            await self._look(lane, None)
        self._emit(StoreBack(place))
        await thaw(name)


Followers = list[asyncio.Task[None]]
