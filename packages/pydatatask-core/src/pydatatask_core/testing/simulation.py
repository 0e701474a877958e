"""Simulated time: a pipeline of a million jobs that sleep for hours is tested in seconds, the same way each time.

::

    def test_nightly() -> None:
        took = simulate(run_my_pipeline)

Within :func:`simulate`, the event loop does not wait: when nothing is left to do, its clock, and with it
``asyncio.sleep``, timeouts, retries, polls and the times in records, jumps to the next moment at which something is
due. :class:`SimulatedExecutor` stands in for a pool of workers.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from typing_extensions import override

from ..clock import now, set_clock
from ..task.function import HOST
from ..task.record import RunRecord

__all__ = ["SimulatedExecutor", "SimulatedLoop", "SimulationStuckError", "simulate"]

T = TypeVar("T")

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""When every simulation begins."""


PATIENCE = 2.0
"""Seconds of real time that may pass while nothing is due."""


class SimulationStuckError(Exception):
    """Nothing is due, and nothing can happen any more: something waits for what will never come."""


class _Selector(selectors.DefaultSelector):
    loop: SimulatedLoop

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # A thread that ends may still wake the loop: the default executor's, when the loop is closed.
            ready = super().select(PATIENCE)
            if ready:
                return ready
            raise SimulationStuckError("Nothing is due any more, and the simulation still waits for something.")
        self.loop.elapsed += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing is left to do, and then at once."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.elapsed = 0.0
        """Simulated seconds since the beginning."""
        super().__init__(selector)

    @override
    def time(self) -> float:
        return self.elapsed

    def now(self) -> datetime:
        """Give the simulated time: aware, UTC, in whole milliseconds."""
        moment = BEGINNING + timedelta(seconds=self.elapsed)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function to its end in simulated time, and give what it returns.

    Nothing in it may wait for threads, processes or the network: their time is not simulated.

    :raises SimulationStuckError: if it waits for something that will never come.
    """
    loops: list[SimulatedLoop] = []

    def make() -> SimulatedLoop:
        loops.append(SimulatedLoop())
        # Work is taken to last as long each time, so that every run is the same.
        set_clock(loops[0].now, count(0.0, 1e-5).__next__)
        return loops[0]

    try:
        with asyncio.Runner(loop_factory=make) as runner:
            try:
                return runner.run(main())
            finally:
                # What is cancelled and closed at the end may wait for a moment of real time.
                set_clock(None)
    finally:
        set_clock(None)


class SimulatedExecutor(Executor):
    """Workers that take simulated time. The functions of tasks are not called.

    Give it to an ``ExecutorTask`` with ``in_process=True``.
    """

    def __init__(
        self,
        workers: int,
        duration: Callable[[str], float],
        fails: Callable[[str], bool] = lambda job: False,
        effect: Callable[[str], None] = lambda job: None,
    ) -> None:
        """:param duration: of a job's run, in seconds.
        :param fails: whether a job's run ends with a failure.
        :param effect: called when a run has succeeded: do here what the function would have done.
        """
        self.most_at_once = 0
        """The most runs that were live at a time, so far."""
        self._workers = workers
        self._duration = duration
        self._fails = fails
        self._effect = effect
        self._queue: deque[tuple[str, Future[RunRecord]]] = deque()
        self._live: list[tuple[float, int, str, datetime, Future[RunRecord]]] = []
        self._count = count()
        self._timer: asyncio.TimerHandle | None = None

    @override
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[RunRecord] = Future()
        self._queue.append((args[-1], future))
        self._begin()
        return future

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and len(self._live) < self._workers:
            job, future = self._queue.popleft()
            if future.set_running_or_notify_cancel():
                end = loop.time() + self._duration(job)
                heapq.heappush(self._live, (end, next(self._count), job, now(), future))
        self.most_at_once = max(self.most_at_once, len(self._live))
        if self._live and (self._timer is None or self._timer.when() > self._live[0][0]):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(self._live[0][0], self._end)

    def _end(self) -> None:
        time = asyncio.get_running_loop().time()
        self._timer = None
        while self._live and self._live[0][0] <= time:
            _, _, job, start, future = heapq.heappop(self._live)
            if self._fails(job):
                record = RunRecord(
                    result="failure", cause="exception", exception="simulated", start_time=start, end_time=now()
                )
            else:
                self._effect(job)
                record = RunRecord(result="success", start_time=start, end_time=now())
            record.host = HOST
            future.set_result(record)
        self._begin()
