"""The byte streams of a file repository. A small value takes one trip to a worker thread, a large one one per chunk."""

from __future__ import annotations

import os
from io import FileIO

from pydatatask_core.streams import CHUNK, BlobReader, BlobWriter
from typing_extensions import override

from .draft import Draft, open_file, write_whole
from .errands import Errands
from .folder import Change, Folder

__all__ = ["FileReader", "FileWriter"]


class FileReader(BlobReader):
    """A file, read with at most a chunk of read-ahead, and let go of as soon as its end was seen."""

    def __init__(self, folder: Folder, job: str, errands: Errands) -> None:
        self._folder = folder
        self._job = job
        self._errands = errands
        self._file: FileIO | None = None
        self._ahead = b""
        self._at = 0
        self._closed = False

    async def begin(self) -> None:
        """Open the file and read the first chunk."""
        try:
            await self._errands.ask("read", self._job, self._begin, self._take)
        except BaseException:
            await self.close()
            raise

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError(f"Cannot read job {self._job!r}: its reader is closed.")
        missing = n - (len(self._ahead) - self._at)
        if self._file is not None and (n < 0 or missing > 0):
            wanted = n if n < 0 else max(missing, CHUNK)
            await self._errands.ask("read", self._job, lambda: self._fetch(wanted), self._take, long=True)
        start, self._at = self._at, len(self._ahead) if n < 0 else self._at + n
        return self._ahead[start : self._at]

    @override
    async def close(self) -> None:
        self._closed = True
        self._ahead = b""
        file, self._file = self._file, None
        if file is not None:
            await self._errands.ask("read", self._job, file.close)

    def _take(self, data: bytes) -> None:
        # Done whether or not the reading task is cancelled, so that whoever reads on misses nothing.
        self._ahead = self._ahead[self._at :] + data
        self._at = 0

    def _begin(self) -> bytes:
        self._file = open_file(self._folder, self._job)
        return self._fetch(CHUNK)

    def _fetch(self, wanted: int) -> bytes:
        """Read ``wanted`` bytes, or all that are left if it is negative or more than there are."""
        assert self._file is not None
        left = os.fstat(self._file.fileno()).st_size - self._file.tell()
        # One byte more than there should be, to see the end. Memory is taken for what is there, not for what is asked.
        wanted = max(left + 1 if wanted < 0 else min(wanted, left + 1), 1)
        data = self._file.read(wanted) or b""
        if len(data) < wanted:
            self._file.close()
            self._file = None
        return data


class FileWriter(BlobWriter):
    """A file in the making. Less than a chunk stays in memory until it is published."""

    def __init__(self, folder: Folder, job: str, errands: Errands) -> None:
        self._folder = folder
        self._job = job
        self._errands = errands
        self._buffer = bytearray()
        self._draft: Draft | None = None
        self._failure: OSError | None = None
        self._closed = False

    @override
    async def write(self, data: bytes, /) -> int:
        if self._closed:
            raise ValueError(f"Cannot write job {self._job!r}: its writer is closed.")
        if len(self._buffer) + len(data) < CHUNK:
            self._buffer += data
        else:
            await self._errands.ask("write", self._job, lambda: self._spill(data), long=True)
        return len(data)

    @override
    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._errands.publish(self._job, self._publish, long=self._draft is not None)

    @override
    async def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._buffer = bytearray()
            if self._draft is not None:
                await self._errands.ask("discard", self._job, self._draft.discard, long=True)

    def _spill(self, data: bytes) -> None:
        # What failed is kept here and not where it is awaited: a cancelled task would not hear of it.
        if self._failure is not None:
            raise self._failure
        try:
            if self._draft is None:
                self._draft = Draft(self._folder, self._job)
            self._draft.write((self._buffer, data))
        except OSError as error:
            self._failure = error
            raise
        # A new one: the traceback of a failed write may still hold the old one, which then cannot change its size.
        self._buffer = bytearray()

    def _publish(self) -> Change:
        if self._draft is None and self._failure is None:
            return write_whole(self._folder, self._job, self._buffer)
        try:
            self._spill(b"")
        except OSError:
            if self._draft is not None:
                self._draft.discard()
            raise
        assert self._draft is not None
        return self._draft.publish()
