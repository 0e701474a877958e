"""A store in memory that does not answer until a test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydatatask_core import InProcessMetadataRepository, StoreUnavailableError
from typing_extensions import override

__all__ = ["Switched"]


class Switched(InProcessMetadataRepository):
    """A store in memory that can be switched off, and must be made before it holds anything."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__(data)
        self.error: Exception | None = StoreUnavailableError("It is switched off.")
        self.made = False
        self.slow = 0.0

    def _ask(self) -> None:
        if self.error is not None:
            raise self.error

    @override
    async def validate(self) -> None:
        await asyncio.sleep(self.slow)
        self._ask()
        self.made = True

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        self._ask()
        assert self.made, "it was listed before it was opened"
        async for page in super().pages():
            yield page

    @override
    async def contains(self, job: str, /) -> bool:
        self._ask()
        return await super().contains(job)

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self._ask()
        await super().dump(job, data)
