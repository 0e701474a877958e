"""The live link of a task: who is running, for people to read, and the way to end a run without a record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import Any

from typing_extensions import override

from ..repository.changes import ChangeSource, Channel, KeyEvent
from ..repository.expression import KeyExpression
from ..repository.protocols import MetadataRepository

__all__ = ["LiveRuns"]


class LiveRuns(MetadataRepository):
    """The records of live runs, kept in a repository of the user's. Deleting one ends the run, and no record is left.

    The site is the truth: a record that disappears otherwise is written again.
    """

    def __init__(self, pids: MetadataRepository, drop: Callable[[str], Awaitable[object]]) -> None:
        """:param drop: ends a job's run without a record."""
        self.pids = pids
        self._drop = drop

    @override
    def __repr__(self) -> str:
        return f"<live runs in {self.pids!r}>"

    @property
    @override
    def location(self) -> str:
        return self.pids.location

    @property
    @override
    def expression(self) -> KeyExpression:
        return self.pids.expression

    @property
    @override
    def resources(self) -> frozenset[object]:
        return self.pids.resources

    @property
    @override
    def change_source(self) -> ChangeSource:
        return self.pids.change_source

    @cached_property
    @override
    def changes(self) -> Channel:
        return self.pids.changes

    @override
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        return self.pids.watch()

    @override
    def unfiltered_iter(self) -> AsyncIterator[str]:
        return self.pids.unfiltered_iter()

    @override
    def pages(self) -> AsyncIterator[list[str]]:
        return self.pids.pages()

    @override
    def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        return self.pids.versions()

    @override
    async def contains(self, job: str, /) -> bool:
        return await self.pids.contains(job)

    @override
    async def info(self, job: str, /) -> Any:
        return await self.pids.info(job)

    @override
    async def info_all(self) -> dict[str, Any]:
        return await self.pids.info_all()

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        await self.pids.dump(job, data)

    @override
    async def validate(self) -> None:
        await self.pids.validate()

    @override
    async def delete(self, job: str, /) -> None:
        """End the job's run, and delete its record. No done record is made, so the job may start again."""
        await self._drop(job)
        await self.pids.delete(job)
