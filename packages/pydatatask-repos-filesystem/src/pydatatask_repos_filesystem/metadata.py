"""Structured data in files: encoded and written, or read and decoded, in one trip to a worker thread.

Large values, of more than :data:`~pydatatask_core.repository.encoded.SMALL` bytes, are decoded in a trip of their own.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from attrs import frozen
from pydatatask_core.job import check_job
from pydatatask_core.repository.encoded import (
    SMALL,
    EncodedRepository,
    JsonMetadataRepository,
    YamlMetadataRepository,
    weight,
)
from pydatatask_core.repository.protocols import CreatingRepository
from pydatatask_core.repository.value import plain
from typing_extensions import override

from .draft import create_whole, read_whole, write_whole
from .files import FileRepository
from .folder import Change

__all__ = ["JsonMetadataFileRepository", "YamlMetadataFileRepository"]

_AT_ONCE = 100
"""Values that are read in one trip by :meth:`info_all`."""


class _MetadataFileRepository(EncodedRepository, FileRepository, CreatingRepository):
    """Files that hold structured data, readable and writable as files too. An absent job has no info."""

    @override
    async def info(self, job: str, /) -> Any:
        """Give the job's data.

        :raises MissingJobError: if there is no such job.
        :raises MalformedValueError: if the file cannot be read as data. Names repository and job.
        """
        check_job(job)
        found = await self._errands.ask("read", job, lambda: self._load(job))
        if isinstance(found, _Large):
            # What takes long to decode must not hold up what else waits for the shared thread.
            raw = found.raw
            return await self._errands.ask("read", job, lambda: self.codec.read(raw, job, self), long=True)
        return found

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        check_job(job)
        data = plain(data, job, self)

        def store() -> Change:
            return write_whole(self._folder, job, self.codec.write(data, job, self))

        await self._errands.publish(job, store, long=weight(data, SMALL) > SMALL)

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        """Publish ``data`` as the job's value if there is none, by a hard link; see :class:`CreatingRepository`."""
        check_job(job)
        raw = await self.encoded(job, plain(data, job, self))
        return await self._errands.create(job, lambda: create_whole(self._folder, job, raw))

    @override
    async def info_all(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}
        async for page in self.pages():
            for start in range(0, len(page), _AT_ONCE):
                load = partial(self._load_all, page[start : start + _AT_ONCE])
                infos.update(await self._errands.ask("read", None, load, long=True))
        return infos

    @override
    async def load_bytes(self, job: str, /) -> bytes:
        return await self._errands.ask("read", job, lambda: read_whole(self._folder, job))

    @override
    async def store_bytes(self, job: str, raw: bytes, /) -> None:
        await self._errands.publish(job, lambda: write_whole(self._folder, job, raw))

    def _load(self, job: str) -> Any:
        """Give the job's data, or its bytes if they are many."""
        raw = read_whole(self._folder, job)
        return _Large(raw) if len(raw) > SMALL else self.codec.read(raw, job, self)

    def _load_all(self, jobs: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for job in jobs:
            try:
                raw = read_whole(self._folder, job)
            except FileNotFoundError:
                continue  # deleted since it was listed
            found[job] = self.codec.read(raw, job, self)
        return found


@frozen
class _Large:
    """Bytes that take long to decode."""

    raw: bytes


class YamlMetadataFileRepository(_MetadataFileRepository, YamlMetadataRepository):
    """Each job is a YAML file in the folder ``basedir``. An absent job has no info: :class:`MissingJobError`.

    All else is as in :class:`FileRepository`, which this also is.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        extension: str = ".yaml",
        case_insensitive: bool = False,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(basedir, extension, case_insensitive, durable=durable)


class JsonMetadataFileRepository(_MetadataFileRepository, JsonMetadataRepository):
    """Each job is a JSON file in the folder ``basedir``. An absent job has no info: :class:`MissingJobError`.

    All else is as in :class:`FileRepository`, which this also is.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        extension: str = ".json",
        case_insensitive: bool = False,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(basedir, extension, case_insensitive, durable=durable)
