"""A TCP proxy that breaks connections when told to: what a client meets when a network or a server fails."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

__all__ = ["BreakingProxy"]


class BreakingProxy:
    """Listens on the loopback interface while entered, and passes each connection on to an address."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.down = False
        """Whether connections are reset as soon as they are made."""
        self.silent = False
        """Whether answers are held back for ever."""
        self.lost = asyncio.Event()
        """Set when an answer was cut."""
        self._lose: int | None = None
        self._marks: tuple[bytes, ...] = ()

    def lose_answer(self, *marks: bytes, nth: int = 1) -> None:
        """Cut the answer to the n-th request from now that holds all these bytes in the middle, and its connection."""
        self._lose, self._marks = nth, marks
        self.lost.clear()

    def _is_to_be_lost(self, request: bytes) -> bool:
        if self._lose is None or not all(mark in request for mark in self._marks):
            return False
        self._lose -= 1
        if self._lose:
            return False
        self._lose = None
        return True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def kill(self) -> None:
        """Reset every connection that is open."""
        for writer in self._writers:
            _reset(writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self.down:
            _reset(writer)
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        self._writers.add(up_writer)
        connection = _Connection()
        ways = (self._up(connection, reader, up_writer), self._down(connection, up_reader, writer))
        try:
            await asyncio.gather(*ways)
        except ConnectionError:
            _reset(writer)
        finally:
            writer.close()
            up_writer.close()

    async def _up(self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self._is_to_be_lost(data):
                connection.doomed = True
            sink.write(data)
            await sink.drain()
        sink.close()

    async def _down(self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.silent:
                await asyncio.Event().wait()
            if connection.doomed:
                sink.write(data[: len(data) // 2])
                await sink.drain()
                self.lost.set()
                raise ConnectionResetError
            sink.write(data)
            await sink.drain()
        sink.close()


class _Connection:
    doomed = False
    """Whether the next answer is cut."""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, so that the peer sees an error and not an end."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
