"""How a repository tells that its keys changed.

Every write made through our own objects is announced here at once, whatever the backend, to all who listen to
the same location in this process. What other programs do to a store is told by the store itself where it can
(:meth:`Repository.watch`) and found by listing where it cannot.
"""

from __future__ import annotations

import asyncio
import enum
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from attrs import define, frozen

__all__ = ["Added", "ChangeSource", "Channel", "KeyEvent", "Removed", "Resync", "channel_of"]


# Not frozen: one is made for every write, and a frozen one takes twice as long to make.
@define(unsafe_hash=True)
class Added:
    """The job's value was published: a new key, or a new value for one that was there."""

    job: str


@frozen
class Removed:
    """The job is gone."""

    job: str


@frozen
class Resync:
    """Events were lost. List the repository again."""


KeyEvent = Added | Removed | Resync
"""What happened to a repository's keys. Events may repeat and may be spurious; they are never lost without Resync."""


class ChangeSource(enum.Enum):
    """How one learns all that happens to a repository."""

    LOCAL = "local"
    """Every change is made by this process through our objects, and announced."""
    WATCHED = "watched"
    """``watch()`` tells of every change, whoever makes it."""
    POLLED = "polled"
    """Only a new listing tells what others changed."""


class Channel:
    """The announcements of one location in this process. Safe to use from any thread."""

    def __init__(self, location: str) -> None:
        self.location = location
        self._listeners: tuple[Callable[[KeyEvent], None], ...] = ()
        self._lock = threading.Lock()

    def added(self, job: str) -> None:
        """Announce that a job's value was published."""
        if self._listeners:
            self.announce(Added(job))

    def removed(self, job: str) -> None:
        """Announce that a job was deleted."""
        if self._listeners:
            self.announce(Removed(job))

    def announce(self, event: KeyEvent) -> None:
        """Tell all listeners: at once those of this thread, soon those of others."""
        for listener in self._listeners:
            listener(event)

    @contextmanager
    def listening(self, callback: Callable[[KeyEvent], None]) -> Iterator[None]:
        """Have ``callback`` called on the running event loop for each announcement, until the block ends.

        The callback must not raise and must not block.
        """
        loop = asyncio.get_running_loop()
        thread = threading.get_ident()

        def deliver(event: KeyEvent) -> None:
            # What another thread announced may arrive after the block ended.
            if listener in self._listeners:
                callback(event)

        def listener(event: KeyEvent) -> None:
            if threading.get_ident() == thread:
                callback(event)
                return
            try:
                loop.call_soon_threadsafe(deliver, event)
            except RuntimeError:
                # The announcement was made already; a listener whose loop is gone must not fail it.
                if not loop.is_closed():
                    raise

        with self._lock:
            self._listeners = (*self._listeners, listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners = tuple(kept for kept in self._listeners if kept is not listener)

    @asynccontextmanager
    async def subscription(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        """Give the announcements as an async iterator that never ends. It stands when the block is entered."""
        queue: asyncio.Queue[KeyEvent] = asyncio.Queue()

        async def events() -> AsyncIterator[KeyEvent]:
            while True:
                yield await queue.get()

        with self.listening(queue.put_nowait):
            yield events()


_channels: weakref.WeakValueDictionary[str, Channel] = weakref.WeakValueDictionary()
_channels_lock = threading.Lock()


def channel_of(location: str) -> Channel:
    """Give the one channel of a location in this process. It lives as long as somebody holds it."""
    with _channels_lock:
        channel = _channels.get(location)
        if channel is None:
            channel = _channels[location] = Channel(location)
        return channel
