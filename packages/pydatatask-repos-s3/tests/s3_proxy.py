"""A TCP proxy that cuts connections: what a client meets when the network fails in the middle of an answer."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Self


class CuttingProxy:
    """Listens on the loopback interface while entered, and passes each connection on to a port of it.

    :attr:`cuts` is the plan: the n-th connection from now is reset after that many bytes from the server, or not if
    the number is None or the plan is at its end.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts: deque[int | None] = deque()
        self.accepted = 0
        """Connections so far."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        cut = self.cuts.popleft() if self.cuts else None
        task = asyncio.create_task(self._serve(reader, writer, cut))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        requests = asyncio.create_task(_pump(reader, up_writer, None))
        try:
            if await _pump(up_reader, writer, cut):
                _reset(writer)
        except ConnectionError:
            _reset(writer)
        finally:
            requests.cancel()
            await asyncio.gather(requests, return_exceptions=True)
            for each in (writer, up_writer):
                each.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None) -> bool:
    """Pass bytes on until the end, or until ``limit``; tell whether the limit was met."""
    passed = 0
    while data := await source.read(65536):
        if limit is not None and passed + len(data) > limit:
            sink.write(data[: limit - passed])
            await sink.drain()
            return True
        sink.write(data)
        await sink.drain()
        passed += len(data)
    return False


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have the connection closed with a reset, so that the peer sees an error and not an end."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
