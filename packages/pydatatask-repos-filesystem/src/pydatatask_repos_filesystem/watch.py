"""What happens in a folder, as key events.

The kernel's events only say which names to look at, and a look at the file says what became of the job. So the order
of events, and what happened in between, cannot mislead. What this process publishes is announced by itself, and the
kernel's word of it is recognised by the hidden name that was renamed, and dropped.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Self

from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.job import is_valid_job_id
from pydatatask_core.repository.changes import Added, Channel, KeyEvent, Removed, Resync

from ._errors import translated
from .folder import Folder
from .inotify import CREATED, IS_DIRECTORY, LOST, MOVED_FROM, MOVED_TO, OVERFLOWN, Queue
from .names import MARK
from .trips import alone, shared

__all__ = ["FolderWatch", "watching"]

_log = logging.getLogger("pydatatask.repository")

PAUSE = 0.005
"""Seconds between two readings of the kernel's queue, so that a busy writer does not wake the loop for every file."""

GUARD = 5.0
"""Seconds between two looks whether the path still leads to the folder that is watched."""

LOST_GUARD = 1.0
"""The same while it does not."""

SETTLE = 2.0
"""Seconds without a change after which a file that appeared, and that nobody closed, is taken for complete."""

_MOST = 10_000
"""Names to look at that are kept; more of them are a Resync."""

_COMPLETE = (-1,)


@asynccontextmanager
async def watching(folder: Folder, changes: Channel, repo: object) -> AsyncIterator[AsyncIterator[KeyEvent]]:
    """Watch a folder, and listen to what is announced for it in this process, until the block ends."""
    watch = FolderWatch(folder)
    try:
        with changes.listening(watch.hear):
            try:
                await watch.arm()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENOSPC):
                    raise StoreUnavailableError(
                        f"Cannot watch {repo!r}: this user has as many inotify queues, watches or open files as the "
                        "system allows. Raise fs.inotify.max_user_instances, fs.inotify.max_user_watches or ulimit -n."
                    ) from error
                raise translated(error, "watch", None, repo) from error
            yield watch
    finally:
        watch.close()


class FolderWatch:
    """The events of one watch, for one consumer, which may be cancelled while it waits and then wait again."""

    def __init__(self, folder: Folder, settle: float = SETTLE, guard: float = GUARD) -> None:
        self._folder = folder
        self._settle_after = settle
        self._guard_after = guard
        self._loop = asyncio.get_running_loop()
        self._events: deque[KeyEvent] = deque()
        self._touched: dict[str, None] = {}
        self._appeared: dict[str, tuple[int, ...]] = {}
        self._own_renames: set[int] = set()
        self._queue: Queue | None = None
        self._identity: tuple[int, int] | None = None
        self._guard_at = self._settle_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KeyEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            await self._more()
        return self._events.popleft()

    def hear(self, event: KeyEvent) -> None:
        """Take an event that was announced in this process."""
        self._events.append(event)
        self._wake()

    async def arm(self) -> None:
        """Begin to watch.

        :raises OSError: if the folder is not there or cannot be watched.
        """
        await alone(self._open, self._install)

    def close(self) -> None:
        """Stop watching. May be called again."""
        self._closed = True
        self._disarm()
        self._wake()

    def _open(self) -> tuple[Queue, tuple[int, int]]:
        while True:
            try:
                identity = self._folder.identity()
                queue = Queue(self._folder.path)
            except FileNotFoundError:
                raise self._folder.gone() from None
            try:
                if self._folder.identity() == identity:
                    return queue, identity
            except FileNotFoundError:
                pass
            queue.close()

    def _disarm(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._queue is not None:
            self._loop.remove_reader(self._queue.fd)
            self._queue.close()
        self._queue = self._identity = None
        self._own_renames.clear()

    def _install(self, opened: tuple[Queue, tuple[int, int]]) -> None:
        queue, identity = opened
        if self._closed:
            queue.close()
            return
        self._queue, self._identity = queue, identity
        self._loop.add_reader(queue.fd, self._read)
        self._guard_at = self._loop.time() + self._guard_after

    def _reinstall(self, opened: tuple[Queue, tuple[int, int]]) -> None:
        self._install(opened)
        self._resync()

    # what the event loop calls

    def _read(self) -> None:
        """Take what is in the kernel's queue, and let it fill for a while."""
        assert self._queue is not None
        own = f"{MARK}new-{self._folder.names.owner}."
        for flags, cookie, name in self._queue.read():
            self._note(flags, cookie, name, own)
        if len(self._touched) > _MOST:
            self._resync()
        self._loop.remove_reader(self._queue.fd)
        self._pause = self._loop.call_later(PAUSE, self._resume)
        self._wake()

    def _resume(self) -> None:
        self._pause = None
        if self._queue is not None:
            self._loop.add_reader(self._queue.fd, self._read)

    def _note(self, flags: int, cookie: int, name: str, own: str) -> None:
        if flags & OVERFLOWN:
            self._resync()
        elif flags & LOST:
            self._identity = None
            self._guard_at = 0.0
        elif name.startswith("."):
            if flags & MOVED_FROM and name.startswith(own):
                self._own_renames.add(cookie)
        elif flags & MOVED_TO and cookie in self._own_renames:
            self._own_renames.remove(cookie)
        elif (job := self._folder.job_of(name)) is not None and is_valid_job_id(job):
            self._appeared.pop(job, None)
            if self._folder.directories or not flags & CREATED:
                self._touched[job] = None
            elif not flags & IS_DIRECTORY:
                # A file that is written is closed at the end, and that will be told. A link never is.
                self._appeared[job] = ()
                self._settle_at = 0.0

    def _resync(self) -> None:
        self._touched.clear()
        self._own_renames.clear()
        if not self._events or not isinstance(self._events[-1], Resync):
            self._events.append(Resync())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # what the consumer's waiting does

    async def _more(self) -> None:
        now = self._loop.time()
        if self._guard_at <= now:
            await self._guard()
        elif self._touched:
            await self._look()
        elif self._appeared and self._settle_at <= now:
            await self._settle()
        else:
            await self._sleep(min(self._guard_at, self._settle_at) if self._appeared else self._guard_at)

    async def _sleep(self, until: float) -> None:
        self._waiter = self._loop.create_future()
        timer = self._loop.call_at(until, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    # Each of these leaves its results with a callback, which a cancelled consumer does not prevent.

    async def _look(self) -> None:
        """Tell what became of the jobs that something happened to."""
        jobs, self._touched = self._touched, {}

        def tell(there: list[bool] | None) -> None:
            if there is None:
                self._resync()
                self._guard_at = 0.0
            else:
                self._events.extend(Added(job) if yes else Removed(job) for job, yes in zip(jobs, there, strict=True))

        await shared(lambda: self._are_there(jobs), tell)

    def _are_there(self, jobs: Iterable[str]) -> list[bool] | None:
        try:
            return [self._folder.find(job) is not None for job in jobs]
        except OSError as error:
            # Whoever lists the folder after the Resync meets the same error, and can deal with it.
            _log.debug("Cannot look at what changed in %s: %s.", self._folder.path, error)
            return None

    async def _settle(self) -> None:
        """Look at the files that appeared: those that are links, or that nobody writes to any more, are there."""
        jobs = dict(self._appeared)
        self._settle_at = self._loop.time() + self._settle_after

        def tell(states: dict[str, tuple[int, ...]]) -> None:
            for job, state in states.items():
                if job not in self._appeared:
                    continue  # it was closed or deleted meanwhile
                if state in (_COMPLETE, jobs[job]):
                    del self._appeared[job]
                    self._touched[job] = None
                else:
                    self._appeared[job] = state

        await shared(lambda: {job: self._state(job) for job in jobs}, tell)

    def _state(self, job: str) -> tuple[int, ...]:
        try:
            found = self._folder.find(job)
            status = os.lstat(found[0]) if found else None
        except OSError:
            return _COMPLETE  # the look that follows meets the error again
        if status is None or status.st_nlink > 1 or stat.S_ISLNK(status.st_mode):
            return _COMPLETE
        return status.st_ino, status.st_size, status.st_ctime_ns

    async def _guard(self) -> None:
        """Make sure that what is watched is what the path leads to; watch that, if not."""
        if await shared(self._is_in_place, self._guarded):
            return
        try:
            await alone(self._open, self._reinstall)
        except OSError as error:
            _log.debug("Cannot watch %s now: %s.", self._folder.path, error)

    def _is_in_place(self) -> bool:
        try:
            return self._folder.identity() == self._identity
        except OSError:
            return False

    def _guarded(self, in_place: bool) -> None:
        if in_place:
            self._guard_at = self._loop.time() + self._guard_after
            return
        if self._queue is not None:
            self._disarm()
            self._resync()
        self._guard_at = self._loop.time() + LOST_GUARD
