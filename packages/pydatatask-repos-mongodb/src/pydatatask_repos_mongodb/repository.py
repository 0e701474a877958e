"""Jobs as the documents of a MongoDB collection."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from pydatatask_core.errors import MalformedValueError, StoreUnavailableError
from pydatatask_core.job import check_job
from pydatatask_core.repository.changes import ChangeSource, Channel, KeyEvent
from pydatatask_core.repository.protocols import PAGE, CreatingRepository, ValidKeys
from pydatatask_core.repository.value import plain
from pymongo.errors import DuplicateKeyError
from pymongo.results import InsertOneResult, UpdateResult
from typing_extensions import override

from ._errors import is_duplicate_id
from .api import Collection, Database
from .document import from_document, to_document
from .store import Store
from .watching import NoChangeStreamsError, Watch

__all__ = ["MongoMetadataRepository"]

_log = logging.getLogger("pydatatask.repository")

D = TypeVar("D", bound=Mapping[str, Any])

KEYS = 10_000
"""Keys that are asked for at once; some 400 KB."""
VALUES = 1000
"""Documents that are asked for at once; the server gives fewer if they are more than 16 MiB."""
UPSERTS = 4
"""How often a document is put where others put one of the same key at the same time."""


class MongoMetadataRepository(CreatingRepository):
    """A collection of a MongoDB server; each document is a job's value, under the job as its ``_id``.

    ``collection`` is a callable that gives a collection of PyMongo's ``AsyncMongoClient`` or of Motor's
    ``AsyncIOMotorClient``, as :meth:`Session.resource` makes it. With ``subcollection`` it may give a database, and
    the collection is the one of that name in it; of a collection it is the one that is called ``collection.name``.

    A mapping is stored as a document of its keys, and so it can be queried and indexed; :mod:`.document` tells what
    becomes of other values. Documents under a key that is no job id are not the repository's business. The info of an
    absent job is ``{}``.

    Each operation is one request. Everything is read from the primary. The documents of others must be plain data.
    """

    def __init__(self, collection: Callable[[], Collection | Database], subcollection: str | None = None) -> None:
        self._store = Store(collection, subcollection)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.location}>"

    @property
    @override
    def location(self) -> str:
        """The collection's callable by name, and the subcollection.

        The server's address is not in it, because nothing is connected yet when it is asked for. So two callables
        are taken for two stores, even if they give the same collection.
        """
        return self._store.location

    @property
    @override
    def resources(self) -> frozenset[object]:
        return frozenset({self._store.resource})

    @override
    async def info(self, job: str, /) -> Any:
        """Give the job's data, ``{}`` for an absent job."""
        check_job(job)
        found = await self._store.asked(f"read job {job!r}", lambda collection: collection.find_one({"_id": job}))
        return {} if found is None else self._value(job, found)

    def _value(self, job: str, document: Mapping[str, Any]) -> Any:
        try:
            return from_document(document)
        except TypeError as error:
            reason = str(error)
        except RecursionError:
            reason = "it is nested too deeply"
        raise MalformedValueError(
            f"Cannot read job {job!r} in {self!r}: {reason}. Correct it in the store, or delete the job."
        )

    @override
    async def info_all(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        keys = ValidKeys(self)
        async with aclosing(self._store.documents("read the values of all jobs", None, VALUES)) as batches:
            async for page in batches:
                for job, document in _valid(keys, page):
                    infos[job] = self._value(job, document)
        keys.report()
        return infos

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        document = to_document(check_job(job), plain(data, job, self))

        async def put(collection: Collection) -> UpdateResult:
            for _ in range(UPSERTS - 1):
                try:
                    return await collection.replace_one({"_id": job}, document, upsert=True)
                except DuplicateKeyError as error:
                    # Somebody made the job between the server's looking for it and its making it.
                    if not is_duplicate_id(error):
                        raise
            return await collection.replace_one({"_id": job}, document, upsert=True)

        await self._store.told(f"store job {job!r}", put, lambda _: self.changes.added(job))

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        document = to_document(check_job(job), plain(data, job, self))

        async def put(collection: Collection) -> InsertOneResult | None:
            try:
                return await collection.insert_one(document)
            except DuplicateKeyError as error:
                if not is_duplicate_id(error):
                    raise
                return None

        def announce(result: InsertOneResult | None) -> None:
            if result is not None:
                self.changes.added(job)

        return await self._store.told(f"create job {job!r}", put, announce) is not None

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        found = await self._store.asked(
            f"look for job {job!r}", lambda collection: collection.find_one({"_id": job}, {"_id": 1})
        )
        return found is not None

    @override
    async def delete(self, job: str, /) -> None:
        check_job(job)
        await self._store.told(
            f"delete job {job!r}",
            lambda collection: collection.delete_one({"_id": job}),
            lambda _: self.changes.removed(job),
        )

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        """Give every key. One that is no string is given in angle brackets, which is no job id."""
        async with aclosing(self._store.documents("list the jobs", {"_id": 1}, KEYS)) as batches:
            async for page in batches:
                for key in _keys(page):
                    yield key

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        """Give the valid jobs by the thousand. The server reads its index of keys for it and nothing else."""
        keys = ValidKeys(self)
        async with aclosing(self._store.documents("list the jobs", {"_id": 1}, KEYS)) as batches:
            async for page in batches:
                for start in range(0, len(page), PAGE):
                    yield keys.valid(_keys(page[start : start + PAGE]))
        keys.report()

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of jobs with digests of their documents, all of which are read for it."""
        keys = ValidKeys(self)
        async with aclosing(self._store.documents("list the jobs", None, VALUES, raw=True)) as batches:
            async for page in batches:
                yield [
                    (job, hashlib.blake2b(document.raw, digest_size=12).hexdigest())
                    for job, document in _valid(keys, page)
                ]
        keys.report()

    @override
    async def validate(self) -> None:
        """See that the collection can be used, and whether its changes can be watched. Makes nothing.

        :raises ConfigurationError: if there is a database where a collection is needed, or writes are not answered.
        :raises StoreUnavailableError: if the server does not answer; of its subclasses, if it refuses.
        """
        await self._store.asked("look for jobs", lambda collection: collection.find_one({}, {"_id": 1}))
        try:
            watch = await Watch.open(self._store)
        except NoChangeStreamsError as error:
            _log.info("%r is polled: %s", self, error)
            _watched[self.changes] = False
        else:
            await watch.close()
            _watched[self.changes] = True

    @property
    @override
    def change_source(self) -> ChangeSource:
        """Watched if :meth:`validate` found change streams, which replica sets have and single servers have not."""
        return ChangeSource.WATCHED if _watched.get(self.changes) else ChangeSource.POLLED

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        """Tell of changes, by a change stream if :meth:`validate` found any.

        A stream that breaks off is resumed where it did; :class:`Resync` is told where the server cannot do that.
        """
        if not _watched.get(self.changes):
            async with super().watch() as events:
                yield events
            return
        try:
            watch = await Watch.open(self._store)
        except NoChangeStreamsError as error:
            _watched[self.changes] = False
            raise StoreUnavailableError(f"{error} From now on it is polled.") from error
        try:
            yield watch.events()
        finally:
            await watch.close()


def _keys(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    return [key if isinstance(key := document["_id"], str) else f"<{key!r}>" for document in documents]


def _valid(keys: ValidKeys, documents: Sequence[D]) -> Iterator[tuple[str, D]]:
    """Give the documents of valid jobs, each with its job."""
    by_key = dict(zip(_keys(documents), documents, strict=True))
    for job in keys.valid(by_key):
        yield job, by_key[job]


_watched: WeakKeyDictionary[Channel, bool] = WeakKeyDictionary()
"""Whether a location has change streams, which one object finds out and all of that location use."""
