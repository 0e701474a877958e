"""Key events from a change stream: opened, resumed where it broke off, and opened anew where it cannot be resumed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

from pydatatask_core.cancelling import GRACE, to_the_end
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.job import is_valid_job_id
from pydatatask_core.repository.changes import Added, KeyEvent, Removed, Resync
from pymongo.errors import OperationFailure, PyMongoError

from . import store as _store
from ._errors import refuses_credentials, translated
from .api import ChangeStream, Collection
from .store import Store

__all__ = ["NoChangeStreamsError", "Watch"]

_log = logging.getLogger("pydatatask.repository")

DOING = "watch for changes"
PIPELINE = [{"$project": {"documentKey": 1, "operationType": 1}}]
"""Has the server send what changed and not what it is now."""

THREAD_AWAIT = 100
"""Milliseconds that Motor's thread waits for a change in one go. It cannot be interrupted."""


class NoChangeStreamsError(StoreUnavailableError):
    """The server has no change streams for this collection, or not for us, or not from the place that was asked."""


class _Stream:
    """A change stream of either driver."""

    def __init__(self, stream: ChangeStream, threaded: bool) -> None:
        self._stream = stream
        self._threaded = threaded
        self._first: Mapping[str, Any] | None = None
        self.token: Mapping[str, Any] | None = None
        """What names the place that was reached."""

    @classmethod
    async def open(cls, collection: Collection, token: Mapping[str, Any] | None) -> _Stream:
        threaded = not inspect.iscoroutinefunction(collection.watch)
        wait = THREAD_AWAIT if threaded else None
        opening = collection.watch(PIPELINE, resume_after=token, max_await_time_ms=wait)
        stream = cls(await opening if isinstance(opening, Awaitable) else opening, threaded)
        if threaded:
            # Motor opens a stream when it is first asked.
            stream._first = await stream.next()
        else:
            stream.token = stream._stream.resume_token
        return stream

    async def next(self) -> Mapping[str, Any] | None:
        """Wait a while for the next change."""
        change, self._first = self._first, None
        if change is None:
            asking = self._stream.try_next()
            async with asyncio.timeout(_store.PATIENCE):
                # A thread goes on though nobody waits for it, and two must not use one stream.
                change = await (to_the_end(asking) if self._threaded else asking)
        self.token = self._stream.resume_token
        return change

    async def close(self) -> None:
        """Let go of the stream. A broken one is closed all the same."""
        try:
            async with asyncio.timeout(GRACE):
                await self._stream.close()
        except (PyMongoError, TimeoutError) as error:
            # The server forgets by itself what is not asked for.
            _log.debug("A change stream could not be closed: %s", error)


class Watch:
    """The changes of a collection. It stands while this is there, through broken connections."""

    def __init__(self, store: Store, stream: _Stream) -> None:
        self._store = store
        self._stream = stream

    @classmethod
    async def open(cls, store: Store) -> Watch:
        """Begin to watch.

        :raises NoChangeStreamsError: if the server has no change streams, or does not let us have one.
        :raises StoreUnavailableError: if the server does not answer, or refuses the credentials.
        """
        return cls(store, await _open(store, None))

    async def close(self) -> None:
        """End it."""
        await self._stream.close()

    async def events(self) -> AsyncIterator[KeyEvent]:
        """Give the events, without end.

        :raises StoreUnavailableError: if the server does not answer though it was asked again.
        """
        while True:
            try:
                change = await self._stream.next()
            except (PyMongoError, TimeoutError) as error:
                _log.info("The change stream of %s broke off: %s", self._store.location, error)
                if not await self._resumed():
                    yield Resync()
                continue
            if change is None:
                continue
            if change["operationType"] in _ENDS:
                # The collection was dropped or renamed. This stream has ended; another begins.
                await self._replace(None)
                yield Resync()
            elif (event := _event(change)) is not None:
                yield event

    async def _resumed(self) -> bool:
        """Open the stream again, and tell whether it goes on where it broke off."""
        token = self._stream.token
        if token is not None:
            try:
                await self._replace(token)
            except NoChangeStreamsError as error:
                _log.info("The change stream of %s cannot be resumed: %s", self._store.location, error)
            else:
                return True
        await self._replace(None)
        return False

    async def _replace(self, token: Mapping[str, Any] | None) -> None:
        await self._stream.close()
        self._stream = await _open(self._store, token)


async def _open(store: Store, token: Mapping[str, Any] | None) -> _Stream:
    """Open a change stream, behind the change that ``token`` names if it is given."""
    with translated(DOING, store.where):
        try:
            async with asyncio.timeout(_store.PATIENCE):
                return await _Stream.open(store.collection, token)
        except OperationFailure as error:
            if refuses_credentials(error):
                raise
            reason = (error.details or {}).get("errmsg") or error
            raise NoChangeStreamsError(f"Cannot {DOING} in {store.where()}: {reason}") from error


def _event(change: Mapping[str, Any]) -> KeyEvent | None:
    kind = change["operationType"]
    if kind not in _OF_ONE:
        # Something that a later server tells: what is there now is to be seen.
        return Resync()
    job = change["documentKey"]["_id"]
    if not isinstance(job, str) or not is_valid_job_id(job):
        return None
    return Removed(job) if kind == "delete" else Added(job)


_OF_ONE = frozenset({"insert", "replace", "update", "delete"})
_ENDS = frozenset({"drop", "rename", "dropDatabase", "invalidate"})
