"""What happens while a quota of the namespace has no room.

Nobody tells when there is room again. So one pod is tried now and then for all that need the same, and the others wait
in line without a request; as long as trying succeeds, the next one follows at once.
"""

from __future__ import annotations

import asyncio
import logging

from pydatatask_core.errors import SiteFullError
from pydatatask_core.pipeline.quota import Resources
from pydatatask_core.runs.site import RunName

__all__ = ["Line", "NoRoomError", "Room"]

_log = logging.getLogger("pydatatask.exec.kubernetes")

SHORTEST = 1.0
"""Seconds between two tries. When a pod of ours has ended, the cluster takes about as long to count anew."""
LONGEST = 30.0
"""The same, at most: others make room, too."""

Job = tuple[str, str]
"""A task's name and a job."""


class NoRoomError(SiteFullError):
    """A quota has no room for a pod. Nothing of it was made, and whoever wants it may stand in line."""

    def __init__(self, message: str, line: Line) -> None:
        super().__init__(message)
        self.line = line


class Line:
    """The jobs whose pods request the same, and wait."""

    def __init__(self, why: str) -> None:
        """:param why: the server's words."""
        self.why = why
        self._waiting: dict[Job, asyncio.Future[bool]] = {}
        self._trying: Job | None = None
        self._delay = SHORTEST
        self._timer: asyncio.TimerHandle | None = None

    def __contains__(self, job: Job) -> bool:
        return job in self._waiting or job == self._trying

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits or tries."""
        return not self._waiting and self._trying is None

    def lets(self, job: Job) -> bool:
        """Tell whether a job may be tried now."""
        return self._trying == job or self.is_empty

    async def turn(self, job: Job) -> bool:
        """Stand at the end of the line until it is a job's turn to be tried; False if somebody had it step out.

        Whoever's turn it is has to claim its pod, or to step out.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[job] = future
        self._arrange()
        return await future

    def step_out(self, job: Job) -> None:
        """A job waits no longer: its turn is the next one's, if it is not that of another anyway. May be repeated."""
        future = self._waiting.pop(job, None)
        if future is not None and not future.done():
            future.set_result(False)
        if job == self._trying:
            self._trying = None
            self._call()
        elif not self._waiting:
            self._stop_timer()

    def refused(self, job: Job, why: str) -> None:
        """The pod of a job was not taken."""
        self.why = why
        if job == self._trying:
            self._trying = None
            self._delay = min(2 * self._delay, LONGEST)
            self._arrange()

    def taken(self, job: Job) -> None:
        """The pod of a job was taken: there may be room for the next."""
        self._delay = SHORTEST
        self.step_out(job)

    def look_soon(self) -> None:
        """There may be room now."""
        self._delay = SHORTEST
        if self._timer is not None and self._timer.when() > asyncio.get_running_loop().time() + SHORTEST:
            self._stop_timer()
            self._arrange()

    def _arrange(self) -> None:
        if self._timer is None and self._trying is None and self._waiting:
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._call)

    def _call(self) -> None:
        """Let the first in line try."""
        self._stop_timer()
        if self._trying is None and self._waiting:
            self._trying = next(iter(self._waiting))
            future = self._waiting.pop(self._trying)
            if not future.done():
                # Otherwise whoever waited is being cancelled, and steps out in a moment.
                future.set_result(True)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Room:
    """What is known of the room that the quotas of a namespace have."""

    def __init__(self) -> None:
        self._lines: dict[Resources, Line] = {}

    def check(self, run: RunName, requests: Resources) -> None:
        """See that a pod may be tried.

        :raises NoRoomError: if others wait that request the same.
        """
        line = self._lines.get(requests)
        if line is not None and not line.lets((run.task, run.job)):
            raise NoRoomError(line.why, line)

    def refused(self, run: RunName, requests: Resources, error: SiteFullError) -> NoRoomError:
        """A quota had no room for a pod."""
        line = self._lines.get(requests)
        if line is None or line.is_empty:
            _log.warning("%s Pods that request the same (%s) wait, and one is tried now and then.", error, requests)
            line = self._lines[requests] = Line(str(error))
        line.refused((run.task, run.job), str(error))
        return NoRoomError(str(error), line)

    def taken(self, run: RunName, requests: Resources) -> None:
        """There is a pod now."""
        line = self._lines.get(requests)
        if line is not None:
            line.taken((run.task, run.job))
            if line.is_empty:
                del self._lines[requests]

    def look_soon(self) -> None:
        """A pod has ended, or is gone: there may be room now."""
        for line in self._lines.values():
            line.look_soon()
