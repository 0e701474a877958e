"""The engine's socket behind a TCP proxy that breaks connections when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import docker  # type: ignore[import-untyped]  # it has no type information
from pydatatask_core.testing.network import BreakingProxy


@asynccontextmanager
async def breaking_proxy() -> AsyncIterator[BreakingProxy]:
    """Give a proxy of the local engine."""
    path = docker.constants.DEFAULT_UNIX_SOCKET.removeprefix("http+unix://")
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_bridge(path, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        async with BreakingProxy(*server.sockets[0].getsockname()) as proxy:
            yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _bridge(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    up_reader, up_writer = await asyncio.open_unix_connection(path)
    try:
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
    except OSError:
        return
    finally:
        up_writer.close()
        writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
