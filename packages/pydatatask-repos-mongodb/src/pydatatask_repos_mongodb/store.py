"""One collection behind a callable that may not be open yet, asked with a bound on every wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any, TypeVar, cast

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pydatatask_core.cancelling import GRACE, to_the_end
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.repository.naming import name_client
from pymongo import ReadPreference
from pymongo.errors import PyMongoError

from ._errors import translated
from .api import Collection, Cursor, Database

__all__ = ["Store"]

_log = logging.getLogger("pydatatask.repository")

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds that one answer is waited for. A client's own timeouts are shorter, but not every one has them."""

VALUES: CodecOptions[dict[str, Any]] = CodecOptions(
    # A date that Python cannot hold breaks its own document, and not all that come in the same answer.
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
BYTES: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


class Store:
    """Where the documents are. Its verbs raise our errors."""

    def __init__(self, collection: Callable[[], Collection | Database], subcollection: str | None) -> None:
        self.resource = collection
        self._subcollection = subcollection
        self.location = f"mongodb:{name_client(collection)}"
        if subcollection is not None:
            self.location += f"/{subcollection}"
        self._known: tuple[object, Collection] = (None, cast("Collection", None))

    @property
    def collection(self) -> Collection:
        """The live collection, read as our promises need it: from the primary, with moments that know their zone.

        :raises SessionClosedError: if its session is not open on the running event loop.
        :raises ConfigurationError: if there is a database where a collection is needed, or writes are not answered.
        """
        live = self.resource()
        known, collection = self._known
        if live is not known:
            collection = self._prepared(live)
            self._known = live, collection
        return collection

    def _prepared(self, live: Collection | Database) -> Collection:
        # Instances give a collection for any attribute that they lack.
        found = live if self._subcollection is None else cast("Database", live)[self._subcollection]
        if not hasattr(type(found), "replace_one"):
            raise ConfigurationError(
                f"{self.location} gives {_kind_of(found)} where a collection is needed. "
                "Return a collection, or name one of a database with subcollection=."
            )
        collection = cast("Collection", found)
        if not collection.write_concern.acknowledged:
            raise ConfigurationError(
                f"The client of {self.location} does not wait for its writes to be answered (w=0), so nobody could "
                "tell what was stored. Make the client with w=1 or w='majority'."
            )
        return collection.with_options(VALUES, ReadPreference.PRIMARY)

    def where(self) -> str:
        """Say in messages which collection of which server this is. Asks nobody."""
        collection = self.collection
        database = collection.database
        servers = ",".join(
            host if port is None else f"{host}:{port}"
            for host, port in sorted(database.client.topology_description.server_descriptions())
        )
        return f"MongoDB collection {database.name}.{collection.name} at {servers}"

    async def asked(self, doing: str, request: Callable[[Collection], Awaitable[T]]) -> T:
        """Make one request, and wait for its answer at most :data:`PATIENCE` seconds."""
        collection = self.collection
        with translated(doing, self.where):
            async with asyncio.timeout(PATIENCE):
                return await request(collection)

    async def told(self, doing: str, request: Callable[[Collection], Awaitable[T]], then: Callable[[T], None]) -> T:
        """Make one request that changes something, to its end though the caller be cancelled; then announce it."""

        async def request_and_announce() -> T:
            answer = await self.asked(doing, request)
            then(answer)
            return answer

        return await to_the_end(request_and_announce())

    async def documents(
        self, doing: str, projection: Mapping[str, int] | None, batch: int, *, raw: bool = False
    ) -> AsyncGenerator[list[Any], None]:
        """Give all documents by the index of keys, so that none is given twice, in batches of one request."""
        collection = self.collection
        if raw:
            collection = collection.with_options(BYTES, ReadPreference.PRIMARY)
        async with _closing(collection.find({}, projection, batch_size=batch, hint=[("_id", 1)])) as cursor:
            while True:
                with translated(doing, self.where):
                    async with asyncio.timeout(PATIENCE):
                        found = await cursor.to_list(batch)
                if not found:
                    return
                yield found


@asynccontextmanager
async def _closing(cursor: Cursor) -> AsyncIterator[Cursor]:
    try:
        yield cursor
    finally:
        try:
            async with asyncio.timeout(GRACE):
                await cursor.close()
        except (PyMongoError, TimeoutError) as error:
            # What went wrong before is to be seen, and a server forgets by itself what is not asked for.
            _log.debug("A cursor could not be closed: %s", error)


def _kind_of(found: object) -> str:
    return f"an object of the class {type(found).__name__}"
