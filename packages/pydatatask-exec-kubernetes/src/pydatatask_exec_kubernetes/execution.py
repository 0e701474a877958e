"""A program in a live pod, over the cluster's channel protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

import aiohttp
from pydatatask_core.errors import PydatataskError, SiteUnavailableError
from pydatatask_core.runs.interactive import Execution, TerminalSize
from typing_extensions import override

__all__ = ["PROTOCOLS", "PodExecution"]

INPUT, OUTPUT, ERRORS, STATUS, RESIZE = range(5)
"""The channels: the first byte of each message."""

CLOSE = 255
"""In that place: the channel that follows ends. Version 5 has it (https://github.com/kubernetes/kubernetes/pull/119157)."""

CLOSING = "v5.channel.k8s.io"
PROTOCOLS = (CLOSING, "v4.channel.k8s.io")
"""What servers are asked for, the first that they know. Kubernetes has version 5 from 1.30 on."""


class PodExecution(Execution):
    """A program that runs in a container of a pod."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, stack: AsyncExitStack, what: str) -> None:
        """:param stack: closes the connection. :param what: is done, for errors."""
        self._socket = socket
        self._stack = stack
        self._what = what
        self._status: int | None = None

    @override
    async def write(self, data: bytes, /) -> None:
        await self._send(INPUT, data)

    @override
    async def end_input(self) -> bool:
        if self._socket.protocol != CLOSING:
            return False
        await self._send(CLOSE, bytes([INPUT]))
        return True

    @override
    async def resize(self, size: TerminalSize) -> None:
        await self._send(RESIZE, json.dumps({"Width": size.columns, "Height": size.rows}).encode())

    async def _send(self, channel: int, data: bytes) -> None:
        try:
            await self._socket.send_bytes(bytes([channel]) + data)
        except (aiohttp.ClientError, OSError) as error:
            raise SiteUnavailableError(f"Cannot {self._what}: the connection is lost ({error}).") from error

    @override
    async def output(self) -> AsyncIterator[tuple[Literal["stdout", "stderr"], bytes]]:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STATUS:
                # The last message. Servers hang up after it without waiting for our good-bye.
                self._status = _exit_status(json.loads(data), self._what)
                return
            if data and channel in {OUTPUT, ERRORS}:
                yield ("stdout" if channel == OUTPUT else "stderr"), data
        failure = self._socket.exception()
        reason = failure or "the server hung up and did not say how the program ended"
        raise SiteUnavailableError(f"Cannot {self._what}: the connection is lost ({reason}).") from failure

    @property
    @override
    def exit_status(self) -> int | None:
        return self._status

    @override
    async def close(self) -> None:
        await self._stack.aclose()


def _exit_status(told: dict[str, Any], what: str) -> int:
    """Read the message that ends a program.

    :raises PydatataskError: if it could not be run.
    """
    if told.get("status") == "Success":
        return 0
    for cause in (told.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise PydatataskError(f"Cannot {what}: {told.get('message')}")
