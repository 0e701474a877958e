"""Trips to worker threads: how blocking file operations leave the event loop.

A trip costs two thread switches, which is as much as publishing a small file does, and Python threads that compete
for the interpreter lock cost more still. So small operations that wait at the same time share one trip, one after
another in a single thread. What may take long (a folder to list, a disk to wait for) travels alone.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from typing_extensions import override

__all__ = ["Trip", "alone", "shared"]

T = TypeVar("T")

WIDE = 8
"""Threads for trips that are taken alone."""

_TURN = 0.005
"""Seconds of work after which a shared trip hands over the results it has."""


class Trip(asyncio.Future[T]):
    """The outcome of work in a worker thread.

    A running thread cannot be cancelled. So this future refuses to be, and a task that is cancelled while it awaits
    one gets its :class:`~asyncio.CancelledError` when the work has ended. Whoever cleans up then finds a thread that
    is done with the file.
    """

    @override
    def cancel(self, msg: Any | None = None) -> bool:
        return False


_Errand = tuple[Trip[Any], Callable[[], Any], Callable[[Any], None] | None]
_Outcome = tuple[Trip[Any], Callable[[Any], None] | None, Any, BaseException | None]


def shared(work: Callable[[], T], after: Callable[[T], None] | None = None) -> Trip[T]:
    """Do ``work``, which is short, in the thread that does all short work of the running event loop.

    ``after`` is called on the event loop with the result if the work succeeded, also if the awaiting task was
    cancelled. It must not raise.
    """
    return _threads_of_running_loop().shared(work, after)


def alone(work: Callable[[], T], after: Callable[[T], None] | None = None) -> Trip[T]:
    """Do ``work``, which may take long, in a thread of its own. See :func:`shared`."""
    return _threads_of_running_loop().alone(work, after)


class _Threads:
    """The worker threads of one event loop. They end when the loop is forgotten."""

    def __init__(self) -> None:
        self._one = ThreadPoolExecutor(1, "pydatatask-files")
        self._many = ThreadPoolExecutor(WIDE, "pydatatask-files-wide")
        self._waiting: deque[_Errand] = deque()
        self._lock = threading.Lock()
        self._working = False

    def shared(self, work: Callable[[], T], after: Callable[[T], None] | None) -> Trip[T]:
        loop = asyncio.get_running_loop()
        trip: Trip[T] = Trip(loop=loop)
        with self._lock:
            self._waiting.append((trip, work, after))
            start, self._working = not self._working, True
        if start:
            self._one.submit(self._work, loop)
        return trip

    def alone(self, work: Callable[[], T], after: Callable[[T], None] | None) -> Trip[T]:
        loop = asyncio.get_running_loop()
        trip: Trip[T] = Trip(loop=loop)
        self._many.submit(lambda: _hand_over(loop, [_done((trip, work, after))]))
        return trip

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            outcomes: list[_Outcome] = []
            until = perf_counter() + _TURN
            while self._waiting and (not outcomes or perf_counter() < until):
                outcomes.append(_done(self._waiting.popleft()))
            _hand_over(loop, outcomes)
            with self._lock:
                if not self._waiting:
                    self._working = False
                    return


def _done(errand: _Errand) -> _Outcome:
    trip, work, after = errand
    try:
        return trip, after, work(), None
    except BaseException as error:  # noqa: BLE001  # raised where the trip is awaited
        return trip, None, None, error


def _hand_over(loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
    try:
        loop.call_soon_threadsafe(_arrive, outcomes)
    except RuntimeError:
        # The loop was closed under its own tasks. Nobody awaits the trips, but others may listen to what they did.
        for _, after, result, _ in outcomes:
            if after is not None:
                after(result)


def _arrive(outcomes: list[_Outcome]) -> None:
    for trip, after, result, error in outcomes:
        if error is not None:
            trip.set_exception(error)
            continue
        if after is not None:
            after(result)
        trip.set_result(result)


_threads: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = weakref.WeakKeyDictionary()


def _threads_of_running_loop() -> _Threads:
    loop = asyncio.get_running_loop()
    threads = _threads.get(loop)
    if threads is None:
        threads = _threads[loop] = _Threads()
    return threads
