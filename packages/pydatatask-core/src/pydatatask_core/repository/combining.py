"""What all combinators share: they stand on other repositories, and store nothing themselves."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar, Literal, overload

from typing_extensions import override

from ..streams import BlobReader, BlobWriter, TextReader, TextWriter
from .changes import Added, KeyEvent, Removed, Resync
from .protocols import BlobRepository, MetadataRepository, Repository

__all__ = ["AT_ONCE", "BlobsBehind", "Combinator", "MetadataBehind", "keys_of"]

AT_ONCE = 16
"""Requests for single jobs that are made at the same time."""


async def keys_of(repo: Repository) -> set[str]:
    """List a repository into memory."""
    return {job async for page in repo.pages() for job in page}


class Combinator(Repository):
    """A repository made of others, its children. If one of them fails, so does what needs it.

    Two of one kind over children of the same locations have one location themselves.
    """

    kind: ClassVar[str]
    """What this is called in a location."""

    @property
    @abstractmethod
    def children(self) -> Mapping[str, Repository]:
        """The repositories that this one is made of, by name."""

    @abstractmethod
    @override
    def pages(self) -> AsyncIterator[list[str]]: ...

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {', '.join(f'{name}={child!r}' for name, child in self.children.items())}>"

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        async for page in self.pages():
            for job in page:
                yield job

    @override
    async def validate(self) -> None:
        for child in self.children.values():
            await child.validate()

    @property
    @override
    def location(self) -> str:
        children = sorted((name, child.location) for name, child in self.children.items())
        return f"{self.kind}({','.join(f'{name}={location}' for name, location in children)})"

    @property
    @override
    def resources(self) -> frozenset[object]:
        return frozenset[object]().union(*(child.resources for child in self.children.values()))

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        """Tell what the children tell, as it looks from here. An event may be spurious: nothing changed here."""
        async with _watching(self.children) as events:
            yield self._heard(events)

    async def _heard(self, events: AsyncIterator[tuple[str, KeyEvent]]) -> AsyncIterator[KeyEvent]:
        async for child, event in events:
            yield await self._seen_from_here(child, event)

    async def _seen_from_here(self, child: str, event: KeyEvent) -> KeyEvent:
        """Tell what an event of a child means here."""
        if isinstance(event, Resync):
            return event
        return Added(event.job) if await self.contains(event.job) else Removed(event.job)


@asynccontextmanager
async def _watching(repos: Mapping[str, Repository]) -> AsyncIterator[AsyncIterator[tuple[str, KeyEvent]]]:
    """Watch several repositories as one. When the watching of one fails, its error ends the events."""
    queue: asyncio.Queue[tuple[str, KeyEvent] | Exception] = asyncio.Queue()

    async def pump(name: str, events: AsyncIterator[KeyEvent]) -> None:
        try:
            async for event in events:
                queue.put_nowait((name, event))
        except Exception as error:  # noqa: BLE001  # raised where the events are read
            queue.put_nowait(error)

    async def events() -> AsyncIterator[tuple[str, KeyEvent]]:
        while True:
            event = await queue.get()
            if isinstance(event, Exception):
                raise event
            yield event

    async with AsyncExitStack() as stack:
        for name, repo in repos.items():
            source = await stack.enter_async_context(repo.watch())
            stack.push_async_callback(_end, asyncio.create_task(pump(name, source)))
        yield events()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


class MetadataBehind(MetadataRepository):
    """A view that stores structured data where its jobs really are."""

    @abstractmethod
    async def _behind(self, job: str) -> tuple[Repository, str]:
        """Give the repository and the job in it that a job stands for."""

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        repo, target = await self._behind(job)
        assert isinstance(repo, MetadataRepository)
        await repo.dump(target, data)


class BlobsBehind(BlobRepository):
    """A view that opens byte streams where its jobs really are."""

    @abstractmethod
    async def _behind(self, job: str) -> tuple[Repository, str]:
        """Give the repository and the job in it that a job stands for."""

    @overload
    async def open(self, job: str, mode: Literal["r"] = "r") -> TextReader: ...
    @overload
    async def open(self, job: str, mode: Literal["rb"]) -> BlobReader: ...
    @overload
    async def open(self, job: str, mode: Literal["w"]) -> TextWriter: ...
    @overload
    async def open(self, job: str, mode: Literal["wb"]) -> BlobWriter: ...

    @override
    async def open(
        self, job: str, mode: Literal["r", "rb", "w", "wb"] = "r"
    ) -> TextReader | BlobReader | TextWriter | BlobWriter:
        repo, target = await self._behind(job)
        assert isinstance(repo, BlobRepository)
        return await repo.open(target, mode)
