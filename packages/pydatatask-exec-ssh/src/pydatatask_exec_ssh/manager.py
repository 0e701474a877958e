"""A POSIX host over SSH as a place for scripts to run."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from pydatatask_core.errors import ConfigurationError, SiteUnavailableError
from pydatatask_core.job import is_valid_name
from pydatatask_core.runs.host import HostFiles, ProcessManager
from pydatatask_core.streams import BlobReader
from typing_extensions import override

from .conversation import Conversation
from .host import LASTING, Host
from .line import Line
from .programs import SWEEP
from .reading import RemoteReader
from .source import Connect, Source
from .staging import Staging
from .watching import Pace, news

__all__ = ["SSHLinuxManager"]

REMOVALS = 4
"""Claims that are deleted at the same time."""


class SSHLinuxManager(ProcessManager):
    """Runs scripts on a POSIX host over SSH.

    Runs live in folders under ``remote_path``, which is made with mode 0700 and must be ours. They need neither the
    controller nor the connection to go on. There is one connection for all jobs. When it breaks it is made again, in
    growing intervals, and what is asked for meanwhile fails with :class:`SiteUnavailableError` at once.

    The host's key is checked as asyncssh does it: against ``known_hosts``, unless the connection was made otherwise.

    What it has opened is closed when the last watch ends; or use it as an async context manager.
    """

    def __init__(
        self,
        app: str,
        ssh: Connect,
        remote_path: str = "/tmp/pydatatask",  # noqa: S108  # made with mode 0700, and its owner is checked
        *,
        channels: int = 8,
        keepalive: float | None = 15.0,
    ) -> None:
        """:param app: part of the name of every run. Two pipelines that share it must not share task names.
        :param ssh: gives a live connection, as a session resource does; or is a function that connects. To reconnect
            the resource's generator is run anew, or the function is called again.
        :param remote_path: the absolute path of the folder that holds the folders of runs.
        :param channels: the most channels to be open at the same time, at least 4. Servers allow 10 by default.
        :param keepalive: after so many seconds without a word from the server it is asked for one, and after three
            without an answer it is taken to be gone. None leaves the connection as it was made.
        :raises ConfigurationError: naming what is wrong.
        """
        if not is_valid_name(app):
            raise ConfigurationError(f"{app!r} is no valid app name. Use 1 to 63 letters, digits, '_' and '-'.")
        if not remote_path.startswith("/"):
            raise ConfigurationError(f"remote_path {remote_path!r} of app {app!r} is no absolute path.")
        if channels <= LASTING:
            raise ConfigurationError(f"App {app!r} needs more than {LASTING} channels, and {channels} are allowed.")
        self.app = app
        self._base = remote_path.rstrip("/")
        self._channels = channels
        self._keepalive = keepalive
        self._line = Line(Source(ssh), self._enter)
        self._watches = 0
        self._pace = Pace()
        self._staging: tuple[Host, Staging] | None = None
        self._removals = asyncio.Semaphore(REMOVALS)

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} in {self._base} of {self.host}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channels, and the connection if it was made here. May be called again."""
        await self._line.close()

    @property
    @override
    def host(self) -> str:
        return self._line.name

    @property
    @override
    def basedir(self) -> str:
        return f"{self._base}/{self.app}"

    async def _enter(self, source: Source) -> Host:
        connection = await source.connection()
        if self._keepalive is not None:
            connection.set_keepalive(self._keepalive, 3)
        return await Host.enter(connection, self._base, self.app, self._channels)

    def _staging_on(self, host: Host) -> Staging:
        if self._staging is None or self._staging[0] is not host:
            self._staging = host, Staging(host)
        return self._staging[1]

    @override
    async def claim(self, path: str, files: HostFiles) -> bool:
        return await self._staging_on(await self._line.host()).claim(path, files)

    @override
    async def spawn(self, path: str) -> None:
        await (await self._line.host()).launcher.ask("start", path)
        self._pace.hasten()

    @override
    async def sh(self, program: str, *arguments: str) -> str:
        return await (await self._line.host()).sh(program, *arguments)

    @override
    async def open(self, path: str, offset: int = 0) -> BlobReader:
        host = await self._line.host()
        return await RemoteReader.begin(host.files, host.name, f"{self.basedir}/{path}", offset)

    @override
    async def remove(self, name: str) -> None:
        async with self._removals:
            await (await self._line.host()).launcher.ask("remove", name, secrets.token_hex(8))

    @override
    async def sweep(self) -> None:
        host = await self._line.host()
        await host.sh(SWEEP, self.basedir, " ".join(self._staging_on(host).names))

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[str]]:
        self._watches += 1
        broken = False
        try:
            host = await self._line.host()
            watcher = await host.talk()
            try:
                # From here on nothing is missed: what changes later is newer than these marks.
                await watcher.ask("mark")
                await watcher.ask("mark")
                yield news(watcher, self._pace)
            finally:
                await self._released(watcher)
        except SiteUnavailableError:
            broken = True
            raise
        finally:
            self._watches -= 1
            # Whoever watched something that broke watches again.
            if not self._watches and not broken:
                await self.close()

    @staticmethod
    async def _released(watcher: Conversation) -> None:
        try:
            await watcher.close()
        except SiteUnavailableError:
            return
