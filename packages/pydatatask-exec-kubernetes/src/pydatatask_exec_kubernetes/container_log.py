"""What one container has written, whatever comes between.

A node gives no log of a container that has not begun, or while it has just been restarted itself; and whatever stands
between may cut a log that is followed, in a way that looks like its end. Servers know no offsets: a log that was cut is
read from its beginning again, and goes on where it was if it begins with what was given before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket

import aiohttp
from pydatatask_core.errors import MissingJobError, SiteUnavailableError
from pydatatask_core.streams import CHUNK

from ._errors import unreachable
from .looking import OnePod, has_begun, has_ended, id_of, never_begins

__all__ = ["ContainerLog"]

STORED = aiohttp.ClientTimeout(sock_connect=10.0, sock_read=60.0)
FOLLOWED = aiohttp.ClientTimeout(sock_connect=10.0)

BEGINNING = 0.5
"""Seconds between two looks at a container that has not begun."""
REFUSALS = 5
"""How often a node may refuse the log of a container that has begun, with ever longer pauses from that on."""
UNREADABLE = b"unable to retrieve container logs for "
"""What a kubelet answers, as if it were the log, whose runtime does not know a container: its id follows."""
PAUSE = 1.0
"""Seconds after which a log that has ended before its container, as it seems, is opened anew, at first."""
AT_ONCE = 5.0
"""A log that is followed and ends within so many seconds ends because its container has."""
ENDS = 2
"""So many such ends one after another are no chance: some nodes never tell that a container has ended."""

_ALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))

_log = logging.getLogger("pydatatask.exec.kubernetes")


class ContainerLog:
    """The log of one container of a pod, to be opened, read to its end, and closed."""

    def __init__(self, pod: OnePod, container: str, *, follow: bool = False, only_new: bool = False) -> None:
        """:param follow: reading waits for more until the container has ended.
        :param only_new: what was written before is left out.
        """
        self.container = container
        self._pod = pod
        self._call = pod.reading("log")
        self._follow = follow
        self._only_new = only_new
        self._query = [
            ("container", container),
            *([("follow", "true")] if follow else ()),
            *([("tailLines", "0")] if only_new else ()),
        ]
        self._response: aiohttp.ClientResponse | None = None
        self._ready = b""
        self._given = 0
        self._digest = hashlib.blake2b()
        self._opened = 0.0
        self._ends = 0

    async def open(self) -> None:
        """Open it; if it is followed, when the container has begun.

        :raises MissingJobError: if there is none, or it is lost.
        :raises SiteUnavailableError: if there is one, and the node does not give it now.
        """
        await self._ask()
        if not self._follow:
            self._ready = await self._begin()

    async def read(self) -> bytes:
        """Give what comes next; nothing at the end.

        :raises SiteUnavailableError: if it breaks off.
        """
        data, self._ready = self._ready, b""
        try:
            if not data:
                data = await (self._receive() if self._given or not self._follow else self._begin())
            while self._follow and not data and not await self._is_whole():
                data = await self._go_on()
        except MissingJobError:
            return b""
        if data:
            self._ends = 0
            self._given += len(data)
            if self._follow:
                self._digest.update(data)
        return data

    def close(self) -> None:
        """Close the connection. May be called again."""
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _ask(self) -> None:
        """Open a connection, as soon as there is a log."""
        pause, refusals = BEGINNING, 0
        while True:
            try:
                self._response = await self._pod.cluster.open(
                    self._call, query=self._query, patience=FOLLOWED if self._follow else STORED
                )
            except MissingJobError as error:
                pod = await self._pod.look()
                if pod is None:
                    raise
                if has_begun(pod, self.container):
                    refusals += 1
                    pause = BEGINNING * 2 ** (refusals - 1)
                    if refusals == REFUSALS:
                        raise SiteUnavailableError(
                            f"Cannot {self._call}: its node does not give the log of container {self.container}, which "
                            f"has begun. Has it just been restarted? {error}"
                        ) from error
                elif not self._follow or never_begins(pod):
                    raise
            else:
                _keep_alive(self._response)
                self._opened = asyncio.get_running_loop().time()
                return
            await asyncio.sleep(pause)

    async def _receive(self, size: int = CHUNK) -> bytes:
        if self._response is None:
            return b""
        try:
            return await self._response.content.read(size)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._call, self._pod.cluster.server, error) from error

    async def _begin(self) -> bytes:
        """Give the first of it, unless that are the words of a kubelet that cannot read it.

        :raises MissingJobError: if it cannot for some time.
        """
        told = b""
        for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE, 0.0):
            told = await self._receive()
            pod = await self._pod.look() if told.startswith(UNREADABLE) else None
            if pod is None or told.strip() != UNREADABLE + id_of(pod, self.container).encode():
                return told
            self.close()
            if pause:
                await asyncio.sleep(pause)
                await self._ask()
        lost = f"the log of container {self.container} of pod {self._pod.name} is lost. {told.decode(errors='replace')}"
        _log.warning("Cannot %s: %s", self._call, lost)
        raise MissingJobError(f"Cannot {self._call}: {lost}")

    async def _is_whole(self) -> bool:
        """Tell whether a log that has ended did so because its container has."""
        if self._response is None:
            # Opening it anew was interrupted.
            return False
        if asyncio.get_running_loop().time() - self._opened > AT_ONCE:
            self._ends = 0
        pod = await self._pod.look()
        return pod is None or has_ended(pod, self.container) or self._ends == ENDS

    async def _go_on(self) -> bytes:
        """Open the log anew, and give what comes after what was given; nothing if it ends there again."""
        self.close()
        await asyncio.sleep(PAUSE * 2**self._ends)
        await self._ask()
        try:
            return await self._rest()
        except BaseException:
            # It may stand where something comes that was given.
            self.close()
            raise

    async def _rest(self) -> bytes:
        left = 0 if self._only_new else self._given
        again = hashlib.blake2b()
        while left and (data := await self._receive(min(left, CHUNK))):
            again.update(data)
            left -= len(data)
        if not self._only_new and again.digest() != self._digest.digest():
            await self._end_unseen()
            return b""
        self._opened = asyncio.get_running_loop().time()
        self._ends += 1
        return await (self._receive() if self._given else self._begin())

    async def _end_unseen(self) -> None:
        """See that a log which does not begin any more as it did has ended: its node has begun a new file.

        :raises SiteUnavailableError: if it goes on.
        """
        try:
            async with asyncio.timeout(2 * AT_ONCE):
                while await self._receive():
                    pass
        except TimeoutError:
            raise SiteUnavailableError(
                f"Following the log of container {self.container} of pod {self._pod.name} was interrupted while the "
                f"run goes on, and its node does not have all of it any more. Follow it anew."
            ) from None
        self._opened = asyncio.get_running_loop().time()
        self._ends = ENDS


def _keep_alive(response: aiohttp.ClientResponse) -> None:
    """Have a connection that is dead, and silent, break after a minute and a half."""
    transport = None if response.connection is None else response.connection.transport
    raw = None if transport is None else transport.get_extra_info("socket")
    if raw is None:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE:
        # Not every system lets one say how often.
        if (option := getattr(socket, name, None)) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, value)
