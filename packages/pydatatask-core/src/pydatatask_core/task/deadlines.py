"""The longest time that runs may take: one timer for many runs, because most end long before it is due."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

__all__ = ["Limit"]


class Limit:
    """The time that one run may take, from the beginning of the block to its end.

    When it is over, the asyncio task that runs the block is cancelled once, within the block and nowhere else. The
    block's exception goes on as it is; the cancellation does not count for the asyncio task after the block.
    """

    __slots__ = ("_caller", "_watch", "deadline", "expired")

    def __init__(self, allowed: float, caller: asyncio.Task[Any]) -> None:
        """:param allowed: seconds.
        :param caller: the asyncio task that runs the block.
        """
        self._watch = _watch_over(allowed)
        self._caller = caller
        self.deadline = self._watch.loop.time() + allowed
        """In the time of the event loop."""
        self.expired = False
        """Whether the block was cancelled, whatever it made of that."""

    @property
    def is_over(self) -> bool:
        """Whether more time has passed than is allowed, told or not."""
        return self.expired or self._watch.loop.time() > self.deadline

    def expire(self) -> None:
        """Cancel the block."""
        self.expired = True
        self._caller.cancel()

    def __enter__(self) -> Self:
        self._watch.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.remove(self)
        if self.expired:
            self._caller.uncancel()


class _Watch:
    """Watches over the blocks of one event loop that may all take as long."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._timer: asyncio.TimerHandle | None = None
        # In the order of their deadlines, as all are allowed as much.
        self._live: dict[Limit, None] = {}

    def add(self, limit: Limit) -> None:
        self._live[limit] = None
        if self._timer is None:
            self._timer = self.loop.call_at(limit.deadline, self._look)

    def remove(self, limit: Limit) -> None:
        # The timer stays: it will do for those that begin before it is due.
        self._live.pop(limit, None)

    def _look(self) -> None:
        """End what is over its time, and come back for the next."""
        time = self.loop.time()
        self._timer = None
        while self._live:
            first = next(iter(self._live))
            if first.deadline > time:
                self._timer = self.loop.call_at(first.deadline, self._look)
                return
            del self._live[first]
            first.expire()


class _Here(threading.local):
    """The watches of this thread's event loop, by what they allow."""

    loop: asyncio.AbstractEventLoop | None = None
    watches: dict[float, _Watch]


_here = _Here()


def _watch_over(allowed: float) -> _Watch:
    loop = asyncio.get_running_loop()
    if _here.loop is not loop:
        _here.loop = loop
        _here.watches = {}
    watch = _here.watches.get(allowed)
    if watch is None:
        watch = _here.watches[allowed] = _Watch(loop)
    return watch
