"""A lane whose jobs start only when there is room in a quota."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from typing_extensions import override

from ..clock import elapsed
from ..errors import ConfigurationError
from .events import LaunchFailed, Waiting
from .lane import Lane, Shortage
from .queues import JobQueue
from .quota import Request, ResourceManager, Resources

__all__ = ["QuotaLane"]

ASKED = 16
"""How many jobs are asked at a time what they need, where that is not known before."""


class QuotaLane(Lane):
    """Takes jobs from its queue as far as the quota reaches.

    Jobs that need the same stand behind one request, so that a million jobs that wait cost as much as one.
    """

    def __init__(self, manager: ResourceManager, *arguments: Any) -> None:
        """The other arguments are those of :class:`Lane`."""
        super().__init__(*arguments)
        self._manager = manager
        self._requests: dict[str, Request] = {}
        self._wanted: dict[Resources, Request] = {}
        self._blocked: dict[Resources, JobQueue] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due: set[str] = set()
        """Jobs that were granted what they need, and start at the loop's next turn."""
        self._asked: dict[str, Resources] = {}
        """What jobs need that had to be asked for it, until they have run."""
        self._asking = asyncio.Semaphore(ASKED)

    @property
    @override
    def busy(self) -> bool:
        # What is left to go on gives nothing back while we wait.
        return super().busy or bool(self._wanted and not self.task.leaving)

    @override
    def hold(self) -> None:
        super().hold()
        for request in self._wanted.values():
            self._manager.withdraw(request)
        self._wanted.clear()
        self._blocked.clear()
        self._asked.clear()
        if self._timer is not None:
            self._timer.cancel()

    @override
    def shortages(self) -> Iterator[Shortage]:
        for cost, jobs in self._blocked.items():
            request = self._wanted.get(cost)
            lacking = None if request is None else self._manager.lacking(request, _time())
            used = self._manager.in_use(self.task.window, _time())
            # Between two looks there may be room, and somebody is about to take it.
            yield Shortage(lacking or "its turn", cost, used, self._manager.quota, jobs)

    @override
    def adopt(self, job: str) -> None:
        request = self._requests[job] = self._request(job, self._cost(job) or Resources())
        self._manager.reserve(request)
        super().adopt(job)

    @override
    def _take(self) -> str | None:
        for cost in [cost for cost in self._blocked if cost not in self._wanted]:
            job = self._unblock(cost)
            if job is not None and self._reserve(job):
                return job
        while (job := super()._take()) is not None:
            if self._reserve(job):
                return job
        return None

    def _unblock(self, cost: Resources) -> str | None:
        """Take the first job out that needs ``cost``, waits, and still may start."""
        blocked = self._blocked.get(cost, ())
        while blocked and len(self.running) < self._most:
            job = blocked.popleft()
            if job not in self.running and self._may_start(job):
                self.running[job] = elapsed()
                return job
            self._asked.pop(job, None)
        if not blocked:
            self._blocked.pop(cost, None)
        return None

    def _reserve(self, job: str) -> bool:
        """Reserve what a job needs that was just taken, or put it where it waits. True if it may go on."""
        try:
            cost = self._cost(job)
            # Its worker asks where it is not known.
            return cost is None or self._draw(job, self._request(job, cost))
        except Exception as error:  # noqa: BLE001  # a user's function; one job's trouble must not stop the others
            self.running.pop(job, None)
            self._fail_launch(job, error)
            return False

    async def _ask(self, job: str) -> bool:
        """Find out what a job needs, and reserve it, or put the job where it waits. True if it may go on."""
        try:
            async with self._asking:
                cost = self._asked[job] = await self.task.ask_cost(job)
            request = self._request(job, cost)
        except Exception as error:  # noqa: BLE001  # as above
            self._leave(job)
            self._fail_launch(job, error)
            return False
        if self.held:
            self._leave(job)
            return False
        self._due.add(job)
        return self._draw(job, request)

    def _draw(self, job: str, request: Request) -> bool:
        never = self._manager.can_never_fit(request.cost)
        if never is not None:
            self._leave(job)
            self._refuse(job, never, request.cost)
            return False
        if request.cost not in self._wanted:
            lacking = self._manager.request(request, _time())
            if lacking is None:
                self._requests[job] = request
                return True
            self._wanted[request.cost] = request
            self._look_again_in_time()
            if self._emit is not None:
                self._emit(Waiting(self.task.name, job, lacking))
        self.running.pop(job, None)
        self._due.discard(job)
        if self.only is not None:
            self.only.add(job)
        if request.cost not in self._blocked:
            self._blocked[request.cost] = self._queue.fresh()
        self._blocked[request.cost].append(job)
        return False

    def _granted(self, request: Request) -> None:
        """There is room for one of the jobs that wait: start the first that still may, and ask for the next."""
        self._wanted.pop(request.cost, None)
        job = self._unblock(request.cost)
        if job is None:
            self._manager.release(request, _time())
        else:
            self._requests[job] = request
            self._due.add(job)
            self._hire(job)
            following = self._unblock(request.cost)
            if following is not None and self._reserve(following):
                self._due.add(following)
                self._hire(following)
        self._idle()

    @override
    async def _run(self, job: str) -> None:
        if job not in self._requests and not await self._ask(job):
            return
        if job in self._due:
            self._due.discard(job)
            if not self.is_ready(job):
                # It was when the quota was granted.
                self._leave(job)
                self._again.discard(job)
                self._readiness.recheck(self._number, job)
                return
        await super()._run(job)

    @override
    def _leave(self, job: str) -> None:
        super()._leave(job)
        self._asked.pop(job, None)
        self._due.discard(job)
        request = self._requests.pop(job, None)
        if request is not None:
            self._manager.release(request, _time())

    def _cost(self, job: str) -> Resources | None:
        asked = self._asked.get(job)
        return self.task.cost(job) if asked is None else asked

    def _request(self, job: str, cost: Resources) -> Request:
        return Request(cost, self._queue.priority(job), self.task.window, self._granted)

    def _refuse(self, job: str, amount: str, cost: Resources) -> None:
        error = ConfigurationError(
            f"Job {job} of task {self.task.name} can never start: it needs {cost}, and the {amount} of the whole quota "
            f"is less ({self._manager.quota}). Raise the quota, or lower the job's resources."
        )
        self.set_aside[job] = error
        if self._emit is not None:
            self._emit(LaunchFailed(self.task.name, job, error, None))

    def _look_again_in_time(self) -> None:
        """See that a launch which leaves the window lets others in."""
        delay = self._manager.next_look(_time())
        if delay is not None and (self._timer is None or self._timer.when() <= _time()):
            self._timer = asyncio.get_running_loop().call_later(delay + 0.001, self._look)

    def _look(self) -> None:
        self._manager.look(_time())
        if self._wanted:
            self._look_again_in_time()


def _time() -> float:
    return asyncio.get_running_loop().time()
