"""YAML and JSON metadata over any blob repository.

There are two ways to have it. A backend whose values are byte streams inherits from :class:`YamlMetadataRepository`
or :class:`JsonMetadataRepository` first and from its blob repository second; it is then both. And
:class:`YamlMetadataBlobRepository` or :class:`JsonMetadataBlobRepository` wraps any blob repository object.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar

from typing_extensions import override

from ..errors import MissingJobError
from ..job import check_job
from .changes import ChangeSource, KeyEvent
from .codec import JSON, Codec
from .expression import KeyExpression
from .protocols import BlobRepository, MetadataRepository, StreamRepository
from .together import together
from .value import plain
from .yaml import YAML

__all__ = [
    "JSON",
    "YAML",
    "Codec",
    "EncodedRepository",
    "JsonMetadataBlobRepository",
    "JsonMetadataRepository",
    "YamlMetadataBlobRepository",
    "YamlMetadataRepository",
]

SMALL = 64 * 1024
"""Bytes, about, up to which a value is encoded and decoded on the event loop: a trip to a thread takes longer."""


class _Encoded(MetadataRepository):
    """Metadata through a codec; where the bytes are kept is left open."""

    codec: ClassVar[Codec]
    """What turns data into the stored bytes and back. Does no I/O; usable from any thread."""

    at_once: ClassVar[int] = 16
    """Values that :meth:`info_all` reads at the same time."""

    @abstractmethod
    async def load_bytes(self, job: str, /) -> bytes:
        """Give the whole stored value of a valid job.

        :raises MissingJobError: if there is no such job.
        """

    @abstractmethod
    async def store_bytes(self, job: str, raw: bytes, /) -> None:
        """Publish a valid job's whole value and announce it, as :meth:`dump` promises."""

    def absent(self, job: str, error: MissingJobError) -> Any:
        """Give the info of an absent job, or raise ``error``, as here."""
        raise error

    @override
    async def info(self, job: str, /) -> Any:
        check_job(job)
        try:
            raw = await self.load_bytes(job)
        except MissingJobError as error:
            return self.absent(job, error)
        return await self.decoded(job, raw)

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        await self.store_bytes(job, await self.encoded(check_job(job), data))

    @override
    async def info_all(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}

        async def read(job: str) -> None:
            try:
                raw = await self.load_bytes(job)
            except MissingJobError:
                return  # deleted since it was listed
            infos[job] = await self.decoded(job, raw)

        async for page in self.pages():
            await together(read, page, self.at_once)
        return infos

    async def encoded(self, job: str, data: Any) -> bytes:
        """Encode a job's data, in a thread if it is large. The caller may change it meanwhile."""
        data = plain(data, job, self)
        if weight(data, SMALL) > SMALL:
            return await asyncio.to_thread(self.codec.write, data, job, self)
        return self.codec.write(data, job, self)

    async def decoded(self, job: str, raw: bytes) -> Any:
        """Decode a job's stored bytes, in a thread if there are many."""
        if len(raw) > SMALL:
            return await asyncio.to_thread(self.codec.read, raw, job, self)
        return self.codec.read(raw, job, self)


def weight(data: Any, limit: int) -> int:
    """Estimate how many bytes plain data makes when encoded. Stops counting at ``limit``."""
    total = 0
    rest = [data]
    while rest and total <= limit:
        item = rest.pop()
        kind = type(item)
        if kind is str or kind is bytes:
            total += len(item)
        elif kind is dict:
            total += 16 * len(item)
            rest.extend(item)
            rest.extend(item.values())
        elif kind is list:
            total += 8 * len(item)
            rest.extend(item)
    return total


class EncodedRepository(_Encoded, StreamRepository):
    """A byte-stream backend whose values are also metadata. Inherit from it before the backend's blob repository.

    A backend that can read or write a whole value in one trip overrides :meth:`load_bytes` or :meth:`store_bytes`,
    or :meth:`info` or :meth:`dump` if it wants to use the codec on the way. One that has an empty value for absent
    jobs overrides :meth:`absent`.
    """

    @override
    async def load_bytes(self, job: str, /) -> bytes:
        async with await self.reader(job) as source:
            return await source.read()

    @override
    async def store_bytes(self, job: str, raw: bytes, /) -> None:
        async with await self.writer(job) as sink:
            await sink.write(raw)


class YamlMetadataRepository(EncodedRepository):
    """YAML values in a byte-stream backend."""

    codec = YAML


class JsonMetadataRepository(EncodedRepository):
    """JSON values in a byte-stream backend."""

    codec = JSON


class _OverBlobs(_Encoded):
    """Metadata over a blob repository object. All but the values is the blob repository's own affair."""

    def __init__(self, base: BlobRepository) -> None:
        self.base = base

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self.base!r}>"

    @override
    async def load_bytes(self, job: str, /) -> bytes:
        async with await self.base.open(job, "rb") as source:
            return await source.read()

    @override
    async def store_bytes(self, job: str, raw: bytes, /) -> None:
        async with await self.base.open(job, "wb") as sink:
            await sink.write(raw)

    @override
    def unfiltered_iter(self) -> AsyncIterator[str]:
        return self.base.unfiltered_iter()

    @override
    def pages(self) -> AsyncIterator[list[str]]:
        return self.base.pages()

    @override
    def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        return self.base.versions()

    @override
    async def contains(self, job: str, /) -> bool:
        return await self.base.contains(job)

    @override
    async def delete(self, job: str, /) -> None:
        await self.base.delete(job)

    @override
    async def validate(self) -> None:
        await self.base.validate()

    @property
    @override
    def location(self) -> str:
        """That of the blob repository: the keys are the same."""
        return self.base.location

    @property
    @override
    def expression(self) -> KeyExpression:
        return self.base.expression

    @property
    @override
    def resources(self) -> frozenset[object]:
        return self.base.resources

    @property
    @override
    def change_source(self) -> ChangeSource:
        return self.base.change_source

    @override
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        return self.base.watch()


class YamlMetadataBlobRepository(_OverBlobs):
    """YAML values over any blob repository. An absent job has no info: :class:`MissingJobError`."""

    codec = YAML


class JsonMetadataBlobRepository(_OverBlobs):
    """JSON values over any blob repository. An absent job has no info: :class:`MissingJobError`."""

    codec = JSON
