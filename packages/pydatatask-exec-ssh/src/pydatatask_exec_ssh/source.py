"""Where connections come from: a resource of a session, or a function of the user's."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import asyncssh
from pydatatask_core.session import Resource

__all__ = ["Connect", "Source"]

_log = logging.getLogger("pydatatask.exec.ssh")

Connect = Callable[[], asyncssh.SSHClientConnection | Awaitable[asyncssh.SSHClientConnection]]
"""Gives a live connection, as a session resource does; or connects, when what it gives is awaited."""


class Source:
    """Gives one connection after another, and closes those that it had made."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._made = AsyncExitStack()
        self._latest: asyncssh.SSHClientConnection | None = None
        self.name = str(getattr(connect, "name", None) or getattr(connect, "__qualname__", repr(connect)))
        """What people know it by, before it is known which host it leads to."""

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Give the live connection, or a new one if it has ended. Fails as the user's function does."""
        if self._latest is None or self._latest.is_closed():
            await self.close()
            self._latest = await self._make()
        return self._latest

    async def _make(self) -> asyncssh.SSHClientConnection:
        if isinstance(self._connect, Resource):
            live: asyncssh.SSHClientConnection = self._connect()
            if not live.is_closed():
                return live
            # The session's own connection has ended. Its generator makes another one.
            again: Resource[asyncssh.SSHClientConnection] = self._connect
            fresh: asyncssh.SSHClientConnection = await self._made.enter_async_context(again.opened())
            return fresh
        given = self._connect()
        if not inspect.isawaitable(given):
            return given
        connection = await given
        self._made.push_async_callback(_close, connection)
        return connection

    async def close(self) -> None:
        """Close the connection if it was made here. One that the session holds is left to it."""
        self._latest = None
        made, self._made = self._made, AsyncExitStack()
        try:
            await made.aclose()
        except (asyncssh.Error, OSError) as error:
            _log.debug("Closing a connection that had ended failed: %s", error)


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()
