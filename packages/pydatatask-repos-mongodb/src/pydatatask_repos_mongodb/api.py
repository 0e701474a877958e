"""The little of a driver that is used here, as PyMongo's asynchronous API and Motor both have it.

Filters, projections and results are ``Any`` where the two drivers' own signatures say so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from pymongo.results import DeleteResult, InsertOneResult, UpdateResult

__all__ = ["ChangeStream", "Collection", "Cursor", "Database"]


class Cursor(Protocol):
    """What ``find`` gives."""

    def to_list(self, length: int) -> Awaitable[list[Any]]:
        """Give the next documents, at most ``length``; none at the end."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of what the server keeps for it."""
        ...


class ChangeStream(Protocol):
    """What ``watch`` gives."""

    @property
    def resume_token(self) -> Mapping[str, Any] | None:
        """What names the place in the stream that was reached."""
        ...

    def try_next(self) -> Coroutine[Any, Any, Any]:
        """Give the next change, or None if none came for a while."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of what the server keeps for it."""
        ...


class Collection(Protocol):
    """A collection of PyMongo's ``AsyncMongoClient`` or of Motor's ``AsyncIOMotorClient``."""

    @property
    def name(self) -> str:
        """Its name, without the database's."""
        ...

    @property
    def database(self) -> Any:
        """The database it is in, with the client that it came from."""
        ...

    @property
    def write_concern(self) -> Any:
        """What must have happened when a write is answered."""
        ...

    def with_options(self, codec_options: Any, read_preference: Any) -> Collection:
        """Give the same collection, read in another way."""
        ...

    def find_one(self, filter: Any, projection: Any = ...) -> Awaitable[Any]:
        """Give one document, or None."""
        ...

    def find(self, filter: Any, projection: Any, *, batch_size: int, hint: Any) -> Cursor:
        """Give the documents of a query."""
        ...

    def replace_one(
        self, filter: Mapping[str, Any], replacement: Mapping[str, Any], upsert: bool
    ) -> Awaitable[UpdateResult]:
        """Replace one document, or insert it."""
        ...

    def insert_one(self, document: Any) -> Awaitable[InsertOneResult]:
        """Insert a document."""
        ...

    def delete_one(self, filter: Mapping[str, Any]) -> Awaitable[DeleteResult]:
        """Delete one document."""
        ...

    def watch(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        *,
        resume_after: Mapping[str, Any] | None,
        max_await_time_ms: int | None,
    ) -> ChangeStream | Awaitable[ChangeStream]:
        """Open a change stream: PyMongo's is to be awaited, Motor's opens when it is first used."""
        ...


class Database(Protocol):
    """A database of one of these clients."""

    def __getitem__(self, name: str) -> Collection: ...
