"""One task's way from ready jobs to ended runs: a queue, and workers that take from it.

A worker runs one job after another. There are as many as the task may run at a time, at most, and none while
nothing is ready; so a job costs no asyncio task of its own, and a function that never waits no turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from attrs import field, frozen

from ..clock import elapsed
from ..errors import PydatataskError, SiteUnavailableError, StoreUnavailableError
from ..task.run import Again, Dropped, Ended, Left, RunTask, cancelled_from_outside
from .events import Event, Finished, Launched, LaunchFailed, Retrying
from .queues import JobQueue
from .quota import Resources
from .readiness import Readiness

__all__ = ["Lane", "Shortage", "Turn", "Wait"]

_log = logging.getLogger("pydatatask.pipeline")

TURN = 0.005
"""Seconds that workers may take together before the event loop gets its turn."""


class Turn:
    """Tells workers when the event loop has waited long enough."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._over = False

    def is_over(self) -> bool:
        """Tell whether to give the loop its turn now. The next one begins when the loop comes round again."""
        if not self._over:
            if elapsed() < self._ends:
                return False
            self._over = True
            asyncio.get_running_loop().call_soon(self._begin)
        return True

    def _begin(self) -> None:
        self._over = False
        self._ends = elapsed() + TURN


@frozen
class Wait:
    """Why a job waits for its next attempt."""

    attempt: int | None
    """The number of the one that failed; None if it was not an attempt: a store or site was not available."""
    cause: str
    error: str | None


@frozen
class Shortage:
    """Jobs that wait for a quota."""

    lacking: str
    """The amount that they wait for, or a job of higher priority."""
    cost: Resources
    """What each needs."""
    used: Resources
    """What is in use now, by whomever."""
    quota: Resources
    jobs: JobQueue = field(eq=False)


class Lane:
    """Starts a task on its ready jobs, and follows each run to its end."""

    def __init__(
        self,
        task: RunTask,
        number: int,
        readiness: Readiness,
        queue: JobQueue,
        turn: Turn,
        emit: Callable[[Event], None] | None,
        ended: Callable[[Lane, str, Ended | Again | Dropped | Left], None],
        idle: Callable[[], None],
    ) -> None:
        """:param number: the task's in ``readiness``.
        :param emit: takes events; None if nobody listens.
        :param ended: called for each attempt that ended, before the job may start again.
        :param idle: called when the last worker has gone.
        """
        self.task = task
        self.running: dict[str, float | None] = {}
        """Live jobs, and when each began, by :func:`~pydatatask_core.clock.elapsed`; None for adopted ones."""
        self.waiting: dict[str, asyncio.TimerHandle] = {}
        """Jobs whose next attempt is due later."""
        self.waits: dict[str, Wait] = {}
        """What each of these waits after."""
        self.not_before: dict[str, tuple[float, Wait]] = {}
        """Jobs whose next attempt an earlier controller planned for later, by the loop's time."""
        self.set_aside: dict[str, Exception] = {}
        """Jobs that could not be started, and are not tried again by this controller."""
        self.only: set[str] | None = None
        """The jobs that may start, if not all that are ready."""
        self.launched = 0
        self.succeeded = 0
        self.failed = 0
        self.crash: BaseException | None = None
        """What ended a worker that should not have ended."""
        self.held = False
        """No new jobs are started."""
        self._number = number
        self._readiness = readiness
        self._queue = queue
        self._turn = turn
        self._emit = emit
        self._ended = ended
        self._idle = idle
        self._workers: set[asyncio.Task[None]] = set()
        self._coming = 0
        """Workers that have not taken their first look yet."""
        self._most = task.max_concurrent or 10_000
        self._cancelled = False
        self._again: set[str] = set()
        """Jobs that became ready while they ran: their done record was deleted, say."""
        self._troubles: dict[str, int] = {}

    @property
    def busy(self) -> bool:
        """Whether a run is live, a retry is waited for, or a job is about to start."""
        return bool(self._workers or (self.waiting and not self.task.leaving))

    @property
    def full(self) -> bool:
        """Whether as many jobs are live as may be at a time."""
        return len(self.running) >= self._most

    @property
    def queued(self) -> Iterable[str]:
        """The jobs that were ready and not looked at yet, some of them in vain."""
        return self._queue

    def is_ready(self, job: str) -> bool:
        """Tell whether a job may start, as far as its stores go."""
        return self._readiness.is_ready(self._number, job)

    def shortages(self) -> Iterable[Shortage]:
        """Give the jobs that wait for a quota, by what they need."""
        return ()

    def ready_jobs(self) -> list[str]:
        """Give the jobs that may start now, in their order. Takes none of them."""
        queue = self._queue.fresh()
        for job in dict.fromkeys(self._queue):
            queue.append(job)
        jobs = [queue.popleft() for _ in range(len(queue))]
        return [job for job in jobs if self._readiness.is_ready(self._number, job)]

    def open(self, only_now_ready: bool = False) -> None:
        """Begin to start jobs: all that become ready, or only those that are ready now."""
        if only_now_ready:
            self.only = set(self._queue)
        self._look_for_more()

    def hold(self) -> None:
        """Start no more jobs, and let those that run end. Retries are left to the next controller."""
        self.held = True
        for timer in self.waiting.values():
            timer.cancel()
        self.waiting.clear()
        self.waits.clear()

    async def cancel(self) -> None:
        """Cancel what runs in this process, and wait until it has ended."""
        self.hold()
        self._cancelled = True
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for job in list(self.running):
            # Its worker had not begun.
            self._leave(job)

    def adopt(self, job: str) -> None:
        """Follow a run that an earlier controller left."""
        self.running[job] = None
        self._hire(job)

    def _hire(self, adopted: str | None = None) -> None:
        """Get one more worker. While it has not come, nobody is hired for jobs that come: it may be enough."""
        if self.held and adopted is None:
            return
        self._coming += 1
        self._queue.on_append = None
        worker = asyncio.ensure_future(self._work(adopted))
        self._workers.add(worker)
        worker.add_done_callback(self._dismiss)

    def _dismiss(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and self.crash is None:
            self.crash = worker.exception()
        self._look_for_more()
        if not self._workers or self.crash is not None:
            self._idle()

    def _look_for_more(self) -> None:
        """Hire for the jobs that are left, or when the next one comes, if there is room."""
        if self._coming or self.held or self.crash is not None or len(self._workers) >= self._most:
            return
        if self._queue:
            self._hire()
        else:
            self._queue.on_append = self._hire

    async def _work(self, adopted: str | None) -> None:
        self._coming -= 1
        cancelled_from_outside.set(lambda: self._cancelled)
        job = self._take() if adopted is None else adopted
        self._look_for_more()
        while job is not None:
            await self._run(job)
            if self._turn.is_over():
                await asyncio.sleep(0)
            job = self._take()

    def _take(self) -> str | None:
        queue = self._queue
        while queue and not self.held and len(self.running) < self._most:
            job = queue.popleft()
            if job in self.running:
                self._again.add(job)
            elif self._may_start(job):
                self.running[job] = elapsed()
                return job
        return None

    def _may_start(self, job: str) -> bool:
        if job in self.waiting or job in self.set_aside or not self._readiness.is_ready(self._number, job):
            return False
        if self.not_before and self._is_too_early(job):
            return False
        if self.only is None:
            return True
        if job in self.only:
            self.only.discard(job)
            return True
        return False

    def _is_too_early(self, job: str) -> bool:
        """Have a job wait whose next attempt an earlier controller planned for later."""
        time, wait = self.not_before.pop(job, (0.0, None))
        delay = time - asyncio.get_running_loop().time()
        if wait is None or delay <= 0 or (self.only is not None and job not in self.only):
            return False
        self._wait(job, delay, wait)
        return True

    async def _run(self, job: str) -> None:
        if not self.task.may_begin():
            self.hold()
            self._leave(job)
            return
        self.launched += 1
        if self._emit is not None:
            self._emit(Launched(self.task.name, job))
        end: Ended | Again | Dropped | Left | None = None
        try:
            end = await self.task.run(job)
        except Exception as error:  # noqa: BLE001  # one task's trouble must not stop the others
            self._fail_launch(job, error)
        except asyncio.CancelledError:
            if self._cancelled:
                raise
            self._fail_launch(job, PydatataskError(f"The run of {self.task.name} on {job} cancelled its caller."))
        finally:
            if not isinstance(end, Left):
                self._leave(job)
        if end is not None:
            self._end(job, end)

    def _leave(self, job: str) -> None:
        self.running.pop(job, None)

    def _end(self, job: str, end: Ended | Again | Dropped | Left) -> None:
        self._troubles.pop(job, None)
        self._ended(self, job, end)
        if isinstance(end, Ended):
            if end.record.succeeded:
                self.succeeded += 1
            else:
                self.failed += 1
            if self._emit is not None:
                self._emit(Finished(self.task.name, job, end.record))
            if job in self._again:
                self._readiness.recheck(self._number, job)
        elif isinstance(end, Again):
            if self._emit is not None:
                self._emit(Retrying(self.task.name, job, end.record, end.delay))
            self._wait(job, end.delay, Wait(end.record.attempt, str(end.record.cause), end.record.exception))
        elif isinstance(end, Dropped):
            if end.delay:
                self._wait(job, end.delay, Wait(None, "inhibited", None))
            else:
                self._readiness.recheck(self._number, job)
        self._again.discard(job)

    def _wait(self, job: str, delay: float, wait: Wait) -> None:
        if not self.held:
            self.waits[job] = wait
            self.waiting[job] = asyncio.get_running_loop().call_later(delay, self._resume, job)

    def _resume(self, job: str) -> None:
        del self.waiting[job]
        del self.waits[job]
        if self.only is not None:
            self.only.add(job)
        self._readiness.recheck(self._number, job)
        self._idle()

    def _fail_launch(self, job: str, error: Exception) -> None:
        """Try again while a store or site is unavailable; set the job aside after anything else."""
        delay: float | None = None
        if isinstance(error, StoreUnavailableError | SiteUnavailableError):
            self._troubles[job] = times = self._troubles.get(job, 0) + 1
            delay = min(2.0 ** min(times - 1, 10), 60.0)
            self._wait(job, delay, Wait(None, "unavailable", str(error)))
        else:
            self.set_aside[job] = error
        _log.error("Task %s could not be run on job %s: %s", self.task.name, job, error, exc_info=delay is None)
        if self._emit is not None:
            self._emit(LaunchFailed(self.task.name, job, error, delay))
