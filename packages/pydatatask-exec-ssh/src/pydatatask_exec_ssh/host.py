"""A host over one live connection: a few channels for all jobs."""

from __future__ import annotations

import asyncio
import secrets
from typing import Self

import asyncssh
from pydatatask_core.errors import ConfigurationError, SiteUnavailableError

from ._errors import cut, explained
from .conversation import Conversation, command
from .programs import PREPARE, TALK

__all__ = ["Host"]

LASTING = 3
"""Channels that stay open: one for files, one to start and remove runs, one to watch them."""


class Host:
    """What is open on one connection, from :meth:`enter` to :meth:`leave`."""

    def __init__(self, connection: asyncssh.SSHClientConnection, base: str, app: str, channels: int) -> None:
        self.connection = connection
        self.name = name_of(connection)
        self.basedir = f"{base}/{app}"
        self.files: asyncssh.SFTPClient
        """The one SFTP session."""
        self.launcher: Conversation
        self._base = base
        self._app = app
        self._free = asyncio.Semaphore(channels - LASTING)
        self._known: dict[str, str] = {}

    @classmethod
    async def enter(cls, connection: asyncssh.SSHClientConnection, base: str, app: str, channels: int) -> Self:
        """Make the folders of an app, and open what all jobs share.

        :raises ConfigurationError: if the folders are somebody else's.
        :raises SiteUnavailableError: if the host lacks something, or the connection fails.
        """
        host = cls(connection, base, app, channels)
        await host.prepare()
        with explained("open an SFTP session", host.name):
            host.files = await connection.start_sftp_client()
        try:
            host.launcher = await host.talk()
        except BaseException:
            host.files.exit()
            raise
        return host

    @property
    def works(self) -> bool:
        """Whether nothing of it has ended."""
        return not self.connection.is_closed() and not self.launcher.is_over

    async def leave(self) -> None:
        """Close the channels. The connection stays."""
        await self.launcher.close()
        self.files.exit()

    async def prepare(self) -> None:
        """See that the folders are there and ours, and learn what programs need to know of the host."""
        said = (await self.sh(PREPARE, self._base, self._app)).strip()
        verdict, _, rest = said.partition(" ")
        if verdict == "foreign":
            raise ConfigurationError(
                f"{rest} on {self.name} cannot hold runs: it is no folder of ours. "
                f"Give the manager another remote_path."
            )
        if verdict != "host":
            raise SiteUnavailableError(f"Cannot prepare {self.basedir} on {self.name}: {rest or said or 'no answer'}")
        namespace, now, uptime = rest.split()
        # Parts of a second are nanoseconds, and ten digits are seconds.
        hundredths = int(now) * 100 if len(now) < 12 else int(now) // 10_000_000
        self._known = {
            "{namespace}": namespace,
            "{offset}": str(hundredths - int(uptime.replace(".", ""))),
        }

    async def sh(self, program: str, *arguments: str) -> str:
        """Run a program to its end and give what it printed."""
        words = [self._known.get(word, word) for word in arguments]
        async with self._free:
            with explained("run a program", self.name):
                done = await self.connection.run(
                    command(*words), input=program, encoding="utf-8", errors="replace", stderr=asyncssh.DEVNULL
                )
        if done.exit_status is None or done.exit_status < 0:
            raise cut("run a program", self.name)
        return str(done.stdout)

    async def talk(self) -> Conversation:
        """Start a shell that stays."""
        known = self._known["{namespace}"], self._known["{offset}"]
        return await Conversation.begin(self.connection, self.name, TALK, self.basedir, *known, secrets.token_hex(8))


def name_of(connection: asyncssh.SSHClientConnection) -> str:
    """Give a host's name for people: the one that was connected to."""
    peer = connection.get_extra_info("peername") or ("an unknown host",)
    return str(connection.get_extra_info("host") or peer[0])
