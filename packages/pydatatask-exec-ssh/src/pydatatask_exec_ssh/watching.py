"""Seeing what happens to all runs of a host by one question per interval."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from .conversation import Conversation

__all__ = ["Pace", "news"]

SHORTEST, LONGEST = 0.2, 1.0
"""Seconds between two questions, while things happen and while nothing does."""

GROWTH = 1.3

SPAN = 5.0
"""Seconds between two marks. A change is told for at least so long, however coarse times are on the host."""

WHOLE = 30.0
"""Seconds between two lists of all runs, which show what nobody told of: a folder that was taken away."""


class Pace:
    """How long to wait before the next question."""

    def __init__(self) -> None:
        self._interval = SHORTEST
        self._hurry = asyncio.Event()

    def hasten(self) -> None:
        """Something is about to happen."""
        if self._interval > SHORTEST:
            self._interval = SHORTEST
            self._hurry.set()

    async def wait(self, happened: bool) -> None:
        """Wait until the next question, longer if nothing has happened."""
        self._hurry.clear()
        self._interval = SHORTEST if happened else min(self._interval * GROWTH, LONGEST)
        try:
            async with asyncio.timeout(self._interval):
                await self._hurry.wait()
        except TimeoutError:
            return


async def news(watcher: Conversation, pace: Pace) -> AsyncIterator[str]:
    """Tell what :meth:`ProcessManager.watch` tells, until the conversation ends."""
    now = asyncio.get_running_loop().time
    marked = now()
    while True:
        yield "all"
        for line in await watcher.ask("all"):
            yield line
        yield "end"
        listed = now()
        told: frozenset[str] = frozenset()
        while now() - listed < WHOLE:
            if now() - marked > SPAN:
                await watcher.ask("mark")
                marked = now()
            lines = await watcher.ask("changes")
            for line in lines:
                if line not in told:
                    yield line
            # What stays news for some seconds is told once.
            happened, told = not told.issuperset(lines), frozenset(lines)
            await pace.wait(happened)
