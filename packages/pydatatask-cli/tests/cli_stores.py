"""Stores for pipelines under test: files in a folder, and one that is never reachable.

The command depends on no backend, so its tests bring their own.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydatatask_core import BlobRepository, MetadataRepository, Repository, StreamRepository
from pydatatask_core.errors import MissingJobError, StoreUnavailableError
from pydatatask_core.job import check_job
from pydatatask_core.repository.encoded import YamlMetadataRepository
from pydatatask_core.streams import BlobReader, BlobWriter
from typing_extensions import override

__all__ = ["Files", "Lines", "Offline", "YamlFiles"]


class Files(StreamRepository):
    """One file per job in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def __repr__(self) -> str:
        return f"<Files {self.folder.name}>"

    @property
    @override
    def location(self) -> str:
        return f"files:{self.folder}"

    @override
    async def validate(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for name in os.listdir(self.folder) if self.folder.exists() else []:
            if not name.startswith("."):
                yield name

    @override
    async def contains(self, job: str, /) -> bool:
        return (self.folder / check_job(job)).exists()

    @override
    async def info(self, job: str, /) -> Any:
        return str(self.folder / check_job(job))

    @override
    async def delete(self, job: str, /) -> None:
        (self.folder / check_job(job)).unlink(missing_ok=True)
        self.changes.removed(job)

    @override
    async def reader(self, job: str, /) -> BlobReader:
        try:
            return _Reader(io.BytesIO((self.folder / job).read_bytes()))
        except FileNotFoundError as error:
            raise MissingJobError(f"Cannot read job {job!r}: {self!r} does not hold it.") from error

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        return _Writer(self, job)


class YamlFiles(YamlMetadataRepository, Files):
    """One YAML file per job in a folder."""


class _Reader(BlobReader):
    def __init__(self, source: io.BytesIO) -> None:
        self._source = source

    @override
    async def read(self, n: int = -1, /) -> bytes:
        return self._source.read(n)

    @override
    async def close(self) -> None:
        self._source.close()


class _Writer(BlobWriter):
    def __init__(self, repo: Files, job: str) -> None:
        self._repo = repo
        self._job = job
        self._parts: list[bytes] | None = []

    @override
    async def write(self, data: bytes, /) -> int:
        assert self._parts is not None
        self._parts.append(data)
        return len(data)

    @override
    async def close(self) -> None:
        if self._parts is not None:
            draft = self._repo.folder / f".{self._job}"
            draft.write_bytes(b"".join(self._parts))
            draft.rename(self._repo.folder / self._job)
            self._parts = None
            self._repo.changes.added(self._job)

    @override
    async def abort(self) -> None:
        self._parts = None


class Lines(Repository):
    """A user's own repository, with three methods: the lines of a text file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for line in self.file.read_text().split():
            yield line

    @override
    async def info(self, job: str, /) -> Any:
        return {"line": self.file.read_text().split().index(job)}

    @override
    async def delete(self, job: str, /) -> None:
        rest = [line for line in self.file.read_text().split() if line != job]
        self.file.write_text("\n".join(rest))


class Offline(MetadataRepository, BlobRepository):
    """A store that cannot be reached."""

    @property
    @override
    def location(self) -> str:
        return "offline:"

    def _fail(self) -> StoreUnavailableError:
        return StoreUnavailableError("The store at offline: does not answer. Is it switched on?")

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for job in self._list():
            yield job

    def _list(self) -> list[str]:
        raise self._fail()

    @override
    async def contains(self, job: str, /) -> bool:
        raise self._fail()

    @override
    async def info(self, job: str, /) -> Any:
        raise self._fail()

    @override
    async def delete(self, job: str, /) -> None:
        raise self._fail()

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        raise self._fail()

    @override
    async def open(self, job: str, mode: str = "r") -> Any:
        raise self._fail()
