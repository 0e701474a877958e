"""A TCP proxy that spoils answers: what a client meets when the network fails in the middle of one."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Literal, Self

from attrs import field, frozen


@frozen
class Fault:
    """What happens to one connection, so many bytes into the body of the answer."""

    after: int
    kind: Literal["cut", "hold", "flip", "lose"] = "cut"
    """Reset the connection; wait for :attr:`go_on`; spoil the next byte and go on; or reset without answer."""
    go_on: asyncio.Event = field(factory=asyncio.Event)


class FaultyProxy:
    """Listens on the loopback interface while entered, and passes each connection on to a port of it.

    :attr:`faults` is the plan: the first is for the next connection, None for none, and so is its end.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.faults: deque[Fault | None] = deque()
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
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        fault = self.faults.popleft() if self.faults else None
        task = asyncio.create_task(self._serve(reader, writer, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.append(up_writer)
        request = asyncio.create_task(_pass(reader, up_writer))
        try:
            if fault is not None:
                await _spoil(up_reader, writer, fault)
            await _pass(up_reader, writer)
        except ConnectionError:
            _reset(writer)
        finally:
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            for each in (writer, up_writer):
                each.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


async def _spoil(source: asyncio.StreamReader, sink: asyncio.StreamWriter, fault: Fault) -> None:
    """Pass the answer on until the fault, and have it happen."""
    while (headers := await source.readuntil(b"\r\n\r\n")).partition(b" ")[2].startswith(b"100 "):
        sink.write(headers)  # no answer yet, but leave to send the body
    if fault.kind == "lose":
        raise ConnectionResetError
    sink.write(headers)
    left = fault.after
    while left and (data := await source.read(min(left, 65536))):
        sink.write(data)
        await sink.drain()
        left -= len(data)
    if fault.kind == "cut":
        raise ConnectionResetError
    if fault.kind == "hold":
        await fault.go_on.wait()
    else:
        (byte,) = await source.readexactly(1)
        sink.write(bytes([byte ^ 0xFF]))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have the connection closed with a reset, so that the peer sees an error and not an end."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
