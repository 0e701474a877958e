"""Files of a container, read as they are, running or not: the engine gives them as archives."""

from __future__ import annotations

import tarfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
from aiodocker.execs import Exec
from aiodocker.stream import Stream
from pydatatask_core.errors import ConflictError, MissingJobError
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from ._errors import QUICK, asking, unreachable
from .spec import BEGUN

__all__ = ["ArchivedFile", "FollowedFile", "read_all"]

_OUT = 1
"""The number of standard output in the engine's frames."""


async def read_all(source: BlobReader) -> bytes:
    """Give all that is left."""
    parts = []
    while part := await source.read(CHUNK):
        parts.append(part)
    return b"".join(parts)


class ArchivedFile(BlobReader):
    """The one file in an archive that the engine sends. It is as long as it was when the engine began."""

    def __init__(self, response: aiohttp.ClientResponse, stack: AsyncExitStack, what: str) -> None:
        """:param stack: closes the answer. :param what: is read, for errors."""
        self._content = response.content
        self._stack = stack
        self._what = what
        self._left = 0
        self._closed = False

    async def begin(self, offset: int) -> None:
        """Go to a byte of the file."""
        size: int | None = None
        while True:
            info = tarfile.TarInfo.frombuf(await self._exactly(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
            if info.isreg():
                break
            # Before the file there may be what its entry has no room for, its size among that.
            extra = await self._exactly(-(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
            size = _size_in(extra[: info.size]) if info.type == tarfile.XHDTYPE else size
        self._left = info.size if size is None else size
        while offset > 0 and (data := await self.read(min(offset, CHUNK))):
            offset -= len(data)

    async def _exactly(self, size: int) -> bytes:
        try:
            return await self._content.readexactly(size)
        except (aiohttp.ClientError, OSError, EOFError, ValueError) as error:
            raise unreachable(f"read {self._what}", error) from error

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError(f"read of {self._what} after closing")
        if n < 0:
            return await read_all(self)
        if not n or not self._left:
            return b""
        try:
            data = await self._content.read(min(n, self._left))
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(f"read {self._what}", error) from error
        if not data:
            raise unreachable(f"read {self._what}", ConnectionError("it ended the connection"))
        self._left -= len(data)
        return data

    @override
    async def close(self) -> None:
        self._closed = True
        await self._stack.aclose()


class FollowedFile(BlobReader):
    """A file that grows, read by a program beside the one that writes it, and at its end from the container."""

    def __init__(self, stream: Stream, rest: Callable[[int], Awaitable[BlobReader]], what: str) -> None:
        """:param stream: what the program writes. :param rest: opens the file from a byte on, when it is complete.
        :param what: is read, for errors.
        """
        self._stream = stream
        self._rest = rest
        self._what = what
        self._ready = b""
        self._given = 0
        self._ended: BlobReader | None = None
        self._closed = False

    @classmethod
    async def begin(cls, made: Exec, rest: Callable[[int], Awaitable[BlobReader]], what: str) -> FollowedFile:
        """Start the program that follows.

        :raises ConflictError: if it does not begin, because the container has ended since it was prepared.
        """
        stream = made.start(detach=False)
        file = cls(stream, rest, what)
        try:
            async with asking(f"follow {what}", QUICK):
                await stream.__aenter__()
                await file._begin()
        except BaseException:
            await file.close()
            raise
        return file

    async def _begin(self) -> None:
        first = await self._next()
        if not first.startswith(BEGUN):
            said = " ".join(first.decode(errors="replace").split())
            raise ConflictError(f"Cannot follow {self._what}: {said or 'it is not written'}.")
        self._ready = first.removeprefix(BEGUN)

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError(f"read of {self._what} after closing")
        if n < 0:
            return await read_all(self)
        if not n:
            return b""
        if self._ended is None and not self._ready:
            self._ready = await self._next()
        if self._ready:
            data, self._ready = self._ready[:n], self._ready[n:]
            self._given += len(data)
            return data
        if self._ended is None:
            try:
                self._ended = await self._rest(self._given)
            except MissingJobError:
                # It is gone since it ended. It waits for those who follow it, so that nothing is missed.
                return b""
        return await self._ended.read(n)

    async def _next(self) -> bytes:
        """Give what was written next; nothing if the container has ended."""
        try:
            while (message := await self._stream.read_out()) is not None:
                if message.stream == _OUT and message.data:
                    return message.data
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(f"follow {self._what}", error) from error
        return b""

    @override
    async def close(self) -> None:
        self._closed = True
        if self._ended is not None:
            await self._ended.close()
        try:
            await self._stream.close()
        except AssertionError:
            # The SDK asserts that there is a connection to close.
            return


def _size_in(records: bytes) -> int | None:
    """Read an extended header: lines that begin with their length."""
    while records:
        length = int(records.partition(b" ")[0])
        name, _, value = records[:length].partition(b" ")[2].rstrip(b"\n").partition(b"=")
        if name == b"size":
            return int(value)
        records = records[length:]
    return None
