"""Reading a file of the host, a little ahead of who reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

import asyncssh
from pydatatask_core.errors import MissingJobError
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from ._errors import explained

__all__ = ["RemoteReader"]

AHEAD = 3
"""Pieces of at most :data:`CHUNK` bytes that are asked for before they are wanted."""


class RemoteReader(BlobReader):
    """A file of the host that is open for reading. Reading goes on where it stopped if the file has grown."""

    def __init__(self, file: asyncssh.SFTPClientFile, path: str, host: str, offset: int) -> None:
        self._file = file
        self._path = path
        self._host = host
        # One request each. Of a piece in several requests the last might be answered after the file has grown.
        self._size = min(CHUNK, file.read_len or CHUNK)
        self._next = offset
        """Where the next piece begins that nobody has asked for."""
        self._ahead = 1
        """Most files are short, so that only the first piece is wanted."""
        self._coming: deque[asyncio.Task[bytes]] = deque()
        self._ready = memoryview(b"")
        self._at_end = False
        """The last piece was the last one there was. This is told once, and then looked at again."""
        self._closed = False

    @classmethod
    async def begin(cls, files: asyncssh.SFTPClient, host: str, path: str, offset: int) -> Self:
        """Open a file from a byte on.

        :raises MissingJobError: if it does not exist.
        """
        with explained(f"read {path}", host):
            try:
                file = await files.open(path, asyncssh.FXF_READ, encoding=None)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
                raise MissingJobError(f"There is no {path} on {host}.") from error
        return cls(file, path, host, offset)

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError(f"{self._path} on {self._host} was closed.")
        if n < 0:
            parts = []
            while part := await self.read(CHUNK):
                parts.append(part)
            return b"".join(parts)
        if n and not self._ready:
            self._ready = memoryview(await self._piece())
        data, self._ready = bytes(self._ready[:n]), self._ready[n:]
        return data

    async def _piece(self) -> bytes:
        if self._at_end:
            self._at_end = False
            return b""
        while len(self._coming) < self._ahead:
            self._coming.append(asyncio.ensure_future(self._fetch(self._next)))
            self._next += self._size
        # It stays the first until it has come, so that a read that was cancelled loses nothing.
        piece = await asyncio.shield(self._coming[0])
        del self._coming[0]
        if len(piece) < self._size:
            # The end, for now. What was asked for beyond it is not what follows.
            self._next -= self._size * (len(self._coming) + 1) - len(piece)
            self._ahead = 1
            self._at_end = bool(piece)
            await self._forget()
        else:
            self._ahead = AHEAD
        return piece

    async def _fetch(self, offset: int) -> bytes:
        with explained(f"read {self._path}", self._host):
            data: bytes = await self._file.read(self._size, offset)
        return data

    async def _forget(self) -> None:
        coming = list(self._coming)
        self._coming.clear()
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)

    @override
    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._ready = memoryview(b"")
        await self._forget()
        try:
            await self._file.close()
        except (asyncssh.Error, OSError):
            # The server closes it with the connection.
            return
