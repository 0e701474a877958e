"""Repositories made of repositories: set algebra over their keys, and views on what stands behind them.

They describe themselves as key expressions, so that readiness is kept up to date without asking them for their
keys. Listing one takes one listing of each child: the first is streamed, and those that it is compared with are
held in memory meanwhile, because asking for keys one by one would take as many requests as there are keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, overload

from typing_extensions import override

from ..job import check_job
from .combining import AT_ONCE, BlobsBehind, Combinator, MetadataBehind, keys_of
from .encoded import EncodedRepository
from .expression import And, Filtered, KeyExpression, Minus, Or
from .protocols import BlobRepository, MetadataRepository, Repository
from .related import (
    RelatedBlobRepository,
    RelatedItemRepository,
    RelatedMetadataBlobRepository,
    RelatedMetadataRepository,
)
from .together import together

__all__ = [
    "AggregateAndRepository",
    "AggregateOrRepository",
    "BlockingBlobRepository",
    "BlockingMetadataBlobRepository",
    "BlockingMetadataRepository",
    "BlockingRepository",
    "MapRepository",
    "RelatedBlobRepository",
    "RelatedItemRepository",
    "RelatedMetadataBlobRepository",
    "RelatedMetadataRepository",
]


class _Aggregate(Combinator):
    def __init__(self, **children: Repository) -> None:
        self._children = children

    @property
    @override
    def children(self) -> Mapping[str, Repository]:
        return self._children

    @override
    async def delete(self, job: str, /) -> None:
        """Delete the job from every child, one after the other. After a failure it is gone from some of them."""
        check_job(job)
        for child in self.children.values():
            await child.delete(job)

    async def _infos(self, job: str, names: list[str]) -> dict[str, Any]:
        infos = await together(lambda name: self.children[name].info(job), names, AT_ONCE)
        return dict(zip(names, infos, strict=True))


class AggregateAndRepository(_Aggregate):
    """The jobs that all children hold. Without children: no jobs."""

    kind = "and"

    @property
    @override
    def expression(self) -> KeyExpression:
        return And(tuple(child.expression for child in self.children.values()))

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        for child in self.children.values():
            if not await child.contains(job):
                return False
        return bool(self.children)

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        if not self.children:
            return
        first, *others = self.children.values()
        held = await together(keys_of, others, AT_ONCE)
        async for page in first.pages():
            yield [job for job in page if all(job in keys for keys in held)]

    @override
    async def info(self, job: str, /) -> dict[str, Any]:
        """Give the info of every child by the child's name. For an absent job each gives what it gives for one."""
        check_job(job)
        return await self._infos(job, list(self.children))


class AggregateOrRepository(_Aggregate):
    """The jobs that any child holds."""

    kind = "or"

    @property
    @override
    def expression(self) -> KeyExpression:
        return Or(tuple(child.expression for child in self.children.values()))

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        for child in self.children.values():
            if await child.contains(job):
                return True
        return False

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        given: set[str] = set()
        for child in self.children.values():
            async for page in child.pages():
                yield [job for job in page if job not in given]
                given.update(page)

    @override
    async def info(self, job: str, /) -> dict[str, Any]:
        """Give the infos of the children that hold the job by their names: ``{}`` for an absent job."""
        check_job(job)
        names = list(self.children)
        holding = await together(lambda name: self.children[name].contains(job), names, AT_ONCE)
        return await self._infos(job, [name for name, held in zip(names, holding, strict=True) if held])


class _Blocking(Combinator):
    kind = "minus"

    def __init__(self, source: Repository, unless: Repository, enumerate_unless: bool = True) -> None:
        self.source = source
        self.unless = unless
        self.enumerate_unless = enumerate_unless

    @property
    @override
    def children(self) -> Mapping[str, Repository]:
        return {"source": self.source, "unless": self.unless}

    @property
    @override
    def expression(self) -> KeyExpression:
        return Minus(self.source.expression, self.unless.expression)

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        return await self.source.contains(job) and not await self.unless.contains(job)

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        blocked = await keys_of(self.unless) if self.enumerate_unless else set[str]()
        async for page in self.source.pages():
            if self.enumerate_unless:
                yield [job for job in page if job not in blocked]
            else:
                blocks = await together(self.unless.contains, page, AT_ONCE)
                yield [job for job, is_blocked in zip(page, blocks, strict=True) if not is_blocked]

    @override
    async def info(self, job: str, /) -> Any:
        """Give the source's info, whether the job is blocked or not."""
        return await self.source.info(check_job(job))

    @override
    async def delete(self, job: str, /) -> None:
        """Delete the job from the source, whether it is blocked or not."""
        await self.source.delete(check_job(job))

    async def _behind(self, job: str) -> tuple[Repository, str]:
        return self.source, check_job(job)


class BlockingRepository(_Blocking):
    """The jobs of ``source`` that ``unless`` does not hold. What stands behind them is the source's.

    ``unless`` is listed into memory for each listing; with ``enumerate_unless=False`` it is asked job by job, which
    is better where it holds far more than the source does.

    What is made has the capability of the source: over a metadata repository it is a
    :class:`BlockingMetadataRepository`, over a blob repository a :class:`BlockingBlobRepository`, over one that is
    both a :class:`BlockingMetadataBlobRepository`.
    """

    @overload
    def __new__(
        cls, source: EncodedRepository, unless: Repository, enumerate_unless: bool = True
    ) -> BlockingMetadataBlobRepository: ...
    @overload
    def __new__(
        cls, source: MetadataRepository, unless: Repository, enumerate_unless: bool = True
    ) -> BlockingMetadataRepository: ...
    @overload
    def __new__(
        cls, source: BlobRepository, unless: Repository, enumerate_unless: bool = True
    ) -> BlockingBlobRepository: ...
    @overload
    def __new__(cls, source: Repository, unless: Repository, enumerate_unless: bool = True) -> BlockingRepository: ...

    def __new__(cls, source: Repository, *_: object, **__: object) -> BlockingRepository:
        """Make the class that has the capability of the source."""
        if cls is not BlockingRepository:
            return super().__new__(cls)
        capability = isinstance(source, MetadataRepository), isinstance(source, BlobRepository)
        return super().__new__(_WITH_CAPABILITY[capability])


class BlockingMetadataRepository(BlockingRepository, MetadataBehind):
    """Structured data of the source, without the blocked jobs."""


class BlockingBlobRepository(BlockingRepository, BlobsBehind):
    """Byte streams of the source, without the blocked jobs."""


class BlockingMetadataBlobRepository(BlockingMetadataRepository, BlockingBlobRepository):
    """Encoded data of the source, without the blocked jobs."""


_WITH_CAPABILITY: dict[tuple[bool, bool], type[BlockingRepository]] = {
    (False, False): BlockingRepository,
    (True, False): BlockingMetadataRepository,
    (False, True): BlockingBlobRepository,
    (True, True): BlockingMetadataBlobRepository,
}


class MapRepository(Combinator):
    """The jobs of ``base`` that ``filt`` accepts, each with what ``func`` makes of its info there.

    Deleting a job that is here deletes it from the base if ``allow_deletes``, and does nothing otherwise. ``func``
    and ``filt`` are async. ``filt`` is asked only about jobs that the base holds, several at the same time; what it
    raises is raised to whoever asked.
    """

    kind = "map"

    def __init__(
        self,
        base: Repository,
        func: Callable[[Any], Awaitable[Any]],
        filt: Callable[[str], Awaitable[bool]] | None = None,
        allow_deletes: bool = False,
    ) -> None:
        self.base = base
        self.func = func
        self.filt = filt
        self.allow_deletes = allow_deletes

    @property
    @override
    def children(self) -> Mapping[str, Repository]:
        return {"base": self.base}

    @property
    @override
    def location(self) -> str:
        filt = "" if self.filt is None else f",filt={_identity(self.filt)}"
        return f"map({self.base.location},func={_identity(self.func)}{filt})"

    @property
    @override
    def expression(self) -> KeyExpression:
        return self.base.expression if self.filt is None else Filtered(self.base.expression, self.filt)

    @override
    async def contains(self, job: str, /) -> bool:
        return await self.base.contains(check_job(job)) and await self._accepts(job)

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        async for page in self.base.pages():
            yield await self._accepted(page)

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        async for page in self.base.versions():
            accepted = set(await self._accepted([job for job, _ in page]))
            yield [(job, version) for job, version in page if job in accepted]

    @override
    async def info(self, job: str, /) -> Any:
        """Give what ``func`` makes of the base's info, for an absent job too."""
        return await self.func(await self.base.info(check_job(job)))

    @override
    async def info_all(self) -> dict[str, Any]:
        infos: dict[str, Any] = {}

        async def read(item: tuple[str, Any]) -> None:
            job, info = item
            if await self._accepts(job):
                infos[job] = await self.func(info)

        found = await self.base.info_all()
        await together(read, list(found.items()), AT_ONCE)
        return infos

    @override
    async def delete(self, job: str, /) -> None:
        check_job(job)
        if self.allow_deletes and (self.filt is None or await self.contains(job)):
            await self.base.delete(job)

    async def _accepts(self, job: str) -> bool:
        return self.filt is None or await self.filt(job)

    async def _accepted(self, jobs: list[str]) -> list[str]:
        if self.filt is None:
            return jobs
        accepts = await together(self.filt, jobs, AT_ONCE)
        return [job for job, is_accepted in zip(jobs, accepts, strict=True) if is_accepted]


def _identity(func: Callable[..., object]) -> str:
    """Name a function by what it is: its name and, as lambdas share one, its address."""
    name = getattr(func, "__qualname__", type(func).__qualname__)
    # A bound method is made anew each time it is asked for; the object that it is bound to is not.
    return f"{name}@{id(getattr(func, '__self__', func)):x}"
