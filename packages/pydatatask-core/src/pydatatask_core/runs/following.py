"""Reading what a run writes while it writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from typing_extensions import override

from ..streams import CHUNK, BlobReader

__all__ = ["FollowingReader"]

QUICKEST = 0.1
"""Seconds between two looks while something comes."""
SLOWEST = 1.0
"""Seconds between two looks, at most."""


class FollowingReader(BlobReader):
    """Reads a file that grows, to the end of the run that writes it."""

    def __init__(self, source: BlobReader, is_over: Callable[[], Awaitable[bool]]) -> None:
        """:param source: gives nothing at its end, and more when there is more. Closed with this reader.
        :param is_over: tells whether the run has ended.
        """
        self._source = source
        self._is_over = is_over

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if n < 0:
            parts = []
            while part := await self.read(CHUNK):
                parts.append(part)
            return b"".join(parts)
        pause = QUICKEST
        while not (data := await self._source.read(n)):
            if await self._is_over():
                # What was written between the two looks.
                return await self._source.read(n)
            await asyncio.sleep(pause)
            pause = min(2 * pause, SLOWEST)
        return data

    @override
    async def close(self) -> None:
        await self._source.close()
