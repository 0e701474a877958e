"""Byte and text streams, as every blob repository reads and writes them.

A backend writes only the two byte streams; text is laid over them here, the same for all: UTF-8, line ends
untouched.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Protocol, Self

from typing_extensions import override

from .errors import MalformedValueError

__all__ = [
    "CHUNK",
    "BlobReader",
    "BlobWriter",
    "ReadStream",
    "ReadText",
    "TextReader",
    "TextWriter",
    "WriteStream",
    "WriteText",
    "copy",
]

CHUNK = 256 * 1024
"""Bytes moved at once where nobody said how many."""


class ReadStream(Protocol):
    """A source of bytes."""

    async def read(self, n: int = -1, /) -> bytes:
        """Read at most ``n`` bytes and move on; all that are left if ``n`` is negative. ``b""`` is the end."""
        ...

    async def close(self) -> None:
        """Let go of the source. May be called again."""
        ...


class WriteStream(Protocol):
    """A sink for bytes."""

    async def write(self, data: bytes, /) -> int:
        """Write all of ``data`` and give its length."""
        ...

    async def close(self) -> None:
        """Publish what was written."""
        ...


class ReadText(Protocol):
    """A source of text."""

    async def read(self, n: int = -1, /) -> str:
        """Read at most ``n`` characters and move on; all that are left if ``n`` is negative. ``""`` is the end."""
        ...

    async def close(self) -> None:
        """Let go of the source. May be called again."""
        ...


class WriteText(Protocol):
    """A sink for text."""

    async def write(self, data: str, /) -> int:
        """Write all of ``data`` and give its length in characters."""
        ...

    async def close(self) -> None:
        """Publish what was written."""
        ...


class _Closing(ABC):
    @abstractmethod
    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self


class _Reader(_Closing):
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class _Writer(_Closing):
    @abstractmethod
    async def abort(self) -> None: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            await self.close()
        else:
            await self.abort()


class BlobReader(_Reader):
    """An open value that is read as bytes. An async context manager that closes."""

    @abstractmethod
    async def read(self, n: int = -1, /) -> bytes:
        """Read at most ``n`` bytes and move on; all that are left if ``n`` is negative.

        ``b""`` means the end, unless ``n`` is 0.

        :raises StoreUnavailableError: if the store fails on the way. What was read is right; the rest is unknown.
        :raises ValueError: after closing.
        """

    @abstractmethod
    @override
    async def close(self) -> None:
        """Let go of the value. May be called again."""


class BlobWriter(_Writer):
    """A value in the making, written as bytes. Published by :meth:`close` and by nothing else.

    As an async context manager it publishes when the block ends and discards when the block is left by an
    exception, cancellation included. A writer that is neither closed nor aborted publishes nothing.
    """

    @abstractmethod
    async def write(self, data: bytes, /) -> int:
        """Write all of ``data`` and give its length.

        After a failure or a cancellation the only thing left to do is :meth:`abort`.

        :raises StoreFullError: if the store has no room.
        :raises StoreUnavailableError: if the store fails.
        :raises ValueError: after closing or aborting.
        """

    @abstractmethod
    @override
    async def close(self) -> None:
        """Publish all that was written, at once; any earlier value is replaced. May be called again.

        After a failure nothing is published. After a cancellation either the whole value is or nothing.
        """

    @abstractmethod
    @override
    async def abort(self) -> None:
        """Discard what was written; any earlier value stays. May be called again, and after :meth:`close`."""


class TextReader(_Reader):
    """UTF-8 text over a :class:`BlobReader`. Line ends are given as they are stored."""

    def __init__(self, source: BlobReader, what: str) -> None:
        """``what`` names the value in errors."""
        self._source = source
        self._what = what
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ready = ""

    async def read(self, n: int = -1, /) -> str:
        """Read at most ``n`` characters and move on; all that are left if ``n`` is negative.

        :raises MalformedValueError: if the value is not UTF-8.
        :raises StoreUnavailableError: if the store fails on the way.
        """
        if n < 0:
            text = self._ready + self._decode(await self._source.read(), final=True)
            self._ready = ""
            return text
        while len(self._ready) < n:
            data = await self._source.read(max(n - len(self._ready), 1))
            self._ready += self._decode(data, final=not data)
            if not data:
                break
        text, self._ready = self._ready[:n], self._ready[n:]
        return text

    @override
    async def close(self) -> None:
        await self._source.close()

    def _decode(self, data: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise MalformedValueError(
                f"Cannot read {self._what} as text: it is not UTF-8 ({error.reason}: "
                f"{error.object[error.start : error.end]!r}). Open it with mode 'rb'."
            ) from error


class TextWriter(_Writer):
    """UTF-8 text over a :class:`BlobWriter`. Line ends are stored as they are given."""

    def __init__(self, sink: BlobWriter) -> None:
        self._sink = sink

    async def write(self, data: str, /) -> int:
        """Write all of ``data`` and give its length in characters. Fails as :meth:`BlobWriter.write` does."""
        await self._sink.write(data.encode("utf-8"))
        return len(data)

    @override
    async def close(self) -> None:
        await self._sink.close()

    @override
    async def abort(self) -> None:
        await self._sink.abort()


async def copy(source: ReadStream, sink: WriteStream, chunk: int = CHUNK) -> int:
    """Copy what is left of ``source`` to ``sink``, ``chunk`` bytes at a time, and give the number of bytes.

    Neither is closed. Fails as the two streams do.
    """
    total = 0
    while data := await source.read(chunk):
        await sink.write(data)
        total += len(data)
    return total
