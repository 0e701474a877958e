"""A program in a live pod, over the cluster's channel protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal, Self

import aiohttp
from pydatatask_core.errors import (
    ConfigurationError,
    MissingJobError,
    PydatataskError,
    SiteCredentialsError,
    SiteUnavailableError,
)
from pydatatask_core.runs.interactive import Execution, TerminalSize
from typing_extensions import override

from .looking import OnePod

__all__ = ["PodExecution"]

INPUT, OUTPUT, ERRORS, STATUS, RESIZE = range(5)
"""The channels: the first byte of each message."""

CLOSE = 255
"""In that place: the channel that follows ends. Version 5 has it (https://github.com/kubernetes/kubernetes/pull/119157)."""

CLOSING = "v5.channel.k8s.io"
PROTOCOLS = (CLOSING, "v4.channel.k8s.io")
"""What servers are asked for, the first that they know. Kubernetes has version 5 from 1.30 on."""


class PodExecution(Execution):
    """A program that runs in a container of a pod."""

    def __init__(
        self, pod: OnePod, container: str, socket: aiohttp.ClientWebSocketResponse, stack: AsyncExitStack
    ) -> None:
        """:param stack: closes the connection."""
        self._pod = pod
        self._container = container
        self._socket = socket
        self._stack = stack
        self._what = str(pod.reading("exec"))
        self._status: int | None = None

    @classmethod
    async def begin(cls, pod: OnePod, container: str, argv: Sequence[str], *, terminal: bool) -> Self:
        """Run a program.

        :raises MissingJobError: if the container does not run any more.
        """
        query = [
            *(("command", word) for word in argv),
            ("container", container),
            ("stdin", "true"),
            ("stdout", "true"),
            ("stderr", "false" if terminal else "true"),
            ("tty", "true" if terminal else "false"),
        ]
        async with AsyncExitStack() as stack:
            try:
                socket = await stack.enter_async_context(pod.cluster.websocket(pod.reading("exec"), query, PROTOCOLS))
            except (ConfigurationError, SiteCredentialsError):
                raise
            except PydatataskError as error:
                raise await _why(pod, container, error) from error
            return cls(pod, container, socket, stack.pop_all())

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
        has_begun = False
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STATUS:
                # The last message. Servers hang up after it without waiting for our good-bye.
                try:
                    self._status = _exit_status(json.loads(data), self._what)
                except PydatataskError as error:
                    if has_begun:
                        raise
                    raise await _why(self._pod, self._container, error) from error
                return
            if data and channel in {OUTPUT, ERRORS}:
                has_begun = True
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


async def _why(pod: OnePod, container: str, error: PydatataskError) -> PydatataskError:
    """Give what it means that a program could not be run: a container that ends meanwhile is told in many ways."""
    if await pod.has_stopped(container):
        return MissingJobError(f"Container {container} of pod {pod.name} does not run any more. {error}")
    # The pod is there: its node does not know it now.
    return SiteUnavailableError(str(error)) if isinstance(error, MissingJobError) else error


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
