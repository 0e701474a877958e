"""Repositories over a dict: the reference implementation, which says by example what all others must do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from typing_extensions import override

from ..errors import MissingJobError
from ..job import check_job
from ..streams import BlobReader, BlobWriter
from .changes import ChangeSource
from .protocols import PAGE, CreatingRepository, Repository, StreamRepository, ValidKeys
from .value import plain

__all__ = ["InProcessBlobRepository", "InProcessMetadataRepository"]


class _InProcessRepository(Repository):
    """Keys in a dict. Two repositories over one dict are one."""

    data: dict[str, Any]

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(self.data)} jobs>"

    @property
    @override
    def location(self) -> str:
        return f"memory:{id(self.data):x}"

    @property
    @override
    def change_source(self) -> ChangeSource:
        """Local: what is done to ``.data`` directly while a pipeline runs is seen at the next opening."""
        return ChangeSource.LOCAL

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for job in list(self.data):
            yield job

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        keys = ValidKeys(self)
        jobs = list(self.data)
        for start in range(0, len(jobs), PAGE):
            yield keys.valid(jobs[start : start + PAGE])
        keys.report()

    @override
    async def contains(self, job: str, /) -> bool:
        return check_job(job) in self.data

    @override
    async def delete(self, job: str, /) -> None:
        if self.data.pop(check_job(job), self) is not self:
            self.changes.removed(job)


class InProcessMetadataRepository(_InProcessRepository, CreatingRepository):
    """Structured data in a dict, ``.data``. Absent jobs have the info ``None``."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        self.data = {} if data is None else data

    @override
    async def info(self, job: str, /) -> Any:
        data = self.data.get(check_job(job))
        return plain(data, job, self, "read")

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data[check_job(job)] = plain(data, job, self)
        self.changes.added(job)

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        if check_job(job) in self.data:
            return False
        await self.dump(job, data)
        return True


class InProcessBlobRepository(_InProcessRepository, StreamRepository):
    """Byte strings in a dict, ``.data``. Infos are ``None``."""

    data: dict[str, bytes]

    def __init__(self, data: dict[str, bytes] | None = None) -> None:
        self.data = {} if data is None else data

    @override
    async def info(self, job: str, /) -> None:
        check_job(job)

    @override
    async def reader(self, job: str, /) -> BlobReader:
        if job not in self.data:
            raise MissingJobError(f"Cannot read job {job!r}: {self!r} does not hold it.")
        return _Reader(self.data[job])

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        return _Writer(self, job)


class _Reader(BlobReader):
    def __init__(self, data: bytes) -> None:
        self._rest: memoryview | None = memoryview(data)

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._rest is None:
            raise ValueError("Cannot read from a closed reader.")
        end = len(self._rest) if n < 0 else n
        data, self._rest = bytes(self._rest[:end]), self._rest[end:]
        return data

    @override
    async def close(self) -> None:
        self._rest = None


class _Writer(BlobWriter):
    def __init__(self, repo: InProcessBlobRepository, job: str) -> None:
        self._repo = repo
        self._job = job
        self._parts: list[bytes] | None = []

    @override
    async def write(self, data: bytes, /) -> int:
        if self._parts is None:
            raise ValueError("Cannot write to a closed writer.")
        self._parts.append(bytes(data))
        return len(data)

    @override
    async def close(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            self._repo.data[self._job] = b"".join(parts)
            self._repo.changes.added(self._job)

    @override
    async def abort(self) -> None:
        self._parts = None
