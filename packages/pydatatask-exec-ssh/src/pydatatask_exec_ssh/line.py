"""The one way to the host, made again when it breaks, and never by two at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pydatatask_core.errors import SiteCredentialsError, SiteUnavailableError

from ._errors import explained
from .host import Host
from .source import Source

__all__ = ["Line"]

_log = logging.getLogger("pydatatask.exec.ssh")

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds between the beginnings of two attempts to connect, at first and at most."""

CONNECTING = 30.0
"""Seconds that an attempt may take."""


class Line:
    """Gives the live host. While there is none, everybody waits for one attempt, or is told why there is none."""

    def __init__(self, source: Source, enter: Callable[[Source], Awaitable[Host]]) -> None:
        self._source = source
        self.name = f"the host of {source.name}"
        """The host's name for people."""
        self._enter = enter
        self._host: Host | None = None
        self._attempt: asyncio.Task[Host] | None = None
        self._failure: SiteUnavailableError | None = None
        self._delay = SHORTEST
        self._began = self._not_before = 0.0

    async def host(self) -> Host:
        """Give the live host, connecting if need be.

        :raises SiteCredentialsError: if it refuses us. It is asked again after the longest interval.
        :raises SiteUnavailableError: if it is out of reach. Before the next attempt is due this is told at once.
        :raises ConfigurationError: if it is not as it should be.
        """
        if self._host is not None and self._host.works:
            return self._host
        if self._attempt is None or self._attempt.done():
            now = asyncio.get_running_loop().time()
            if now < self._not_before:
                refused = isinstance(self._failure, SiteCredentialsError)
                kind = SiteCredentialsError if refused else SiteUnavailableError
                raise kind(
                    f"{self.name} is out of reach, and tried again in {self._not_before - now:.1f} s. "
                    f"{self._failure or 'The connection was lost.'}"
                )
            # One that lasted was no flicker.
            self._delay = SHORTEST if now - self._began > LONGEST else self._delay
            self._began, self._not_before = now, now + self._delay
            self._delay = min(2 * self._delay, LONGEST)
            self._attempt = asyncio.ensure_future(self._connect())
            # Those who wait may all have gone by then.
            self._attempt.add_done_callback(lambda done: done.cancelled() or done.exception())
        attempt = self._attempt
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if attempt.cancelled() and waiter is not None and not waiter.cancelling():
                raise SiteUnavailableError(f"{self.name} was let go while it was connected to.") from None
            raise

    async def close(self) -> None:
        """Close what was opened. Whoever asks for the host afterwards connects again."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.gather(self._attempt, return_exceptions=True)
            self._attempt = None
        if self._host is not None:
            host, self._host = self._host, None
            await host.leave()
        await self._source.close()
        self._not_before = 0.0

    async def _connect(self) -> Host:
        if self._host is not None:
            await self._host.leave()
        try:
            with explained("log in", self.name):
                async with asyncio.timeout(CONNECTING):
                    self._host = await self._enter(self._source)
        except SiteUnavailableError as error:
            self._failure = error
            if isinstance(error, SiteCredentialsError):
                # It does not pass by itself, and some servers lock out whoever knocks often.
                self._not_before = self._began + LONGEST
            raise
        except Exception:
            # Something else than the host is to blame, and may be right the next time.
            self._not_before = 0.0
            raise
        self._failure = None
        self.name = self._host.name
        _log.info("Connected to %s.", self.name)
        return self._host
