"""Tasks of users' own classes: started by ``launch``, looked after by calling ``update`` about once a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..task.base import Task
from .events import Event, Launched, LaunchFailed
from .queues import JobQueue
from .readiness import Readiness

__all__ = ["Guest"]

_log = logging.getLogger("pydatatask.pipeline")


class Guest:
    """One task that the controller knows nothing of but :meth:`Task.launch` and :meth:`Task.update`."""

    def __init__(
        self,
        task: Task,
        number: int,
        readiness: Readiness,
        queue: JobQueue,
        emit: Callable[[Event], None],
        refresh: Callable[[Task, str], Awaitable[None]],
    ) -> None:
        """``refresh`` asks the task's stores for one job again, since nobody announces what became of it."""
        self.task = task
        self.live = False
        """Whether the task said, last time, that something of it is live."""
        self.launched = 0
        self.failures: dict[str, Exception] = {}
        """Jobs that could not be started, and are not tried again."""
        self._number = number
        self._readiness = readiness
        self._queue = queue
        self._emit = emit
        self._refresh = refresh
        self._started: set[str] = set()

    @property
    def busy(self) -> bool:
        """Whether there is something to look after."""
        return bool(self.live or self._started)

    @property
    def has_more(self) -> bool:
        """Whether there may be something to launch."""
        return bool(self._queue) and not self.task.disabled

    async def round(self, launch: bool) -> None:
        """Look after what is live, then start what is ready, if ``launch``."""
        try:
            self.live = await self.task.update()
        except Exception as error:  # noqa: BLE001  # one task's trouble must not stop the others
            _log.exception("Task %s could not look after its runs.", self.task.name)
            self._emit(LaunchFailed(self.task.name, "", error, 1.0))
        for job in list(self._started):
            await self._refresh(self.task, job)
            if not self._readiness.is_ready(self._number, job):
                self._started.discard(job)
            elif not self.live:
                # It left no trace, so it may be started again.
                self._started.discard(job)
                self._queue.append(job)
        while launch and self._queue and not self.task.disabled:
            job = self._queue.popleft()
            if job not in self._started and job not in self.failures and self._readiness.is_ready(self._number, job):
                await self._launch(job)

    async def _launch(self, job: str) -> None:
        self._emit(Launched(self.task.name, job))
        self.launched += 1
        try:
            await self.task.launch(job)
        except Exception as error:  # noqa: BLE001  # one task's trouble must not stop the others
            self.failures[job] = error
            _log.exception("Task %s could not be launched on job %s.", self.task.name, job)
            self._emit(LaunchFailed(self.task.name, job, error, None))
            return
        self._started.add(job)
        await self._refresh(self.task, job)
        # The loop's other tasks have their turn between two launches.
        await asyncio.sleep(0)
