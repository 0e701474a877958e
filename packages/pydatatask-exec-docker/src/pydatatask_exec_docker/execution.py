"""A program beside a running container's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

import aiohttp
from aiodocker.execs import Exec
from aiodocker.stream import Stream
from pydatatask_core.errors import PydatataskError
from pydatatask_core.runs.interactive import Execution, TerminalSize
from typing_extensions import override

from ._errors import QUICK, asking, unreachable

__all__ = ["ContainerExecution"]

ERRORS = 2
"""The number of standard error in the engine's frames."""


class ContainerExecution(Execution):
    """A program that runs in a container."""

    def __init__(self, made: Exec, stream: Stream, what: str) -> None:
        """:param what: is done, for errors."""
        self._exec = made
        self._stream = stream
        self._what = what
        self._status: int | None = None

    @classmethod
    async def begin(cls, made: Exec, what: str, terminal: TerminalSize | None) -> ContainerExecution:
        """Start a program that was prepared."""
        stream = made.start(detach=False)
        async with asking(what, QUICK):
            await stream.__aenter__()
        execution = cls(made, stream, what)
        if terminal is not None:
            try:
                await execution.resize(terminal)
            except BaseException:
                await execution.close()
                raise
        return execution

    @override
    async def write(self, data: bytes, /) -> None:
        try:
            await self._stream.write_in(data)
        except (aiohttp.ClientError, OSError, RuntimeError, AssertionError) as error:
            # The SDK asserts that there is a connection.
            raise unreachable(self._what, error) from error

    @override
    async def end_input(self) -> bool:
        # The SDK has no word for it, and closes both ways at once.
        connection = self._stream._resp.connection if self._stream._resp is not None else None
        transport = connection.transport if connection is not None else None
        if transport is None or transport.is_closing():
            raise unreachable(self._what, ConnectionError("the connection is lost"))
        if not transport.can_write_eof():
            return False
        transport.write_eof()
        return True

    @override
    async def output(self) -> AsyncIterator[tuple[Literal["stdout", "stderr"], bytes]]:
        writes: bool | None = None
        try:
            while (message := await self._stream.read_out()) is not None:
                # An engine puts it into the output why a program could not begin.
                writes = await self._has_begun() if writes is None else writes
                yield ("stdout" if writes and message.stream != ERRORS else "stderr"), message.data
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._what, error) from error
        told = await self._told()
        if told.get("Running"):
            raise unreachable(self._what, ConnectionError("the connection is lost, and the program goes on"))
        self._status = int(told.get("ExitCode") or 0)

    async def _has_begun(self) -> bool:
        told = await self._told()
        return bool(told.get("Running") or told.get("Pid"))

    async def _told(self) -> Mapping[str, Any]:
        async with asking(self._what, QUICK):
            return await self._exec.inspect()

    @override
    async def resize(self, size: TerminalSize) -> None:
        try:
            async with asking(self._what, QUICK):
                await self._exec.resize(h=size.rows, w=size.columns)
        except PydatataskError:
            # A program that has ended has no terminal any more.
            if (await self._told()).get("Running"):
                raise

    @property
    @override
    def exit_status(self) -> int | None:
        return self._status

    @override
    async def close(self) -> None:
        try:
            await self._stream.close()
        except AssertionError:
            # The SDK asserts that there is a connection to close.
            return
