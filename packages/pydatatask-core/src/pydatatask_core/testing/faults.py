"""Repositories that go wrong on purpose: wrappers that fail, hold, cancel or kill at operations of one's choice.

::

    faults = Faults(nth(3, Fail(StoreUnavailableError("the network is down"))))
    repo = faulty(InProcessMetadataRepository(), faults)

A run without a plan tells from ``faults.operations`` how many operations there are; then each of them can be struck
in turn.
"""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, overload

from attrs import define, field
from typing_extensions import override

from ..repository.changes import ChangeSource, KeyEvent
from ..repository.protocols import BlobRepository, MetadataRepository, Repository, StreamRepository
from ..streams import BlobReader, BlobWriter

__all__ = [
    "Cancel",
    "Fail",
    "Fault",
    "Faults",
    "FaultyBlobRepository",
    "FaultyMetadataRepository",
    "FaultyRepository",
    "Hold",
    "Kill",
    "always",
    "faulty",
    "nth",
]

T = TypeVar("T")


@define
class Fault(ABC):
    """Something that goes wrong: before the operation, or ``after`` it was done, so that only its answer is lost."""

    after: bool = field(default=False, kw_only=True)

    @abstractmethod
    async def strike(self) -> None:
        """Go wrong."""


@define
class Fail(Fault):
    """Raises an error."""

    error: BaseException

    @override
    async def strike(self) -> None:
        raise self.error


@define
class Hold(Fault):
    """Holds the operation: sets ``reached`` and waits for ``release``."""

    reached: asyncio.Event = field(factory=asyncio.Event, init=False)
    release: asyncio.Event = field(factory=asyncio.Event, init=False)

    @override
    async def strike(self) -> None:
        self.reached.set()
        await self.release.wait()


@define
class Cancel(Fault):
    """Cancels the task that the operation runs in."""

    @override
    async def strike(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)


@define
class Kill(Fault):
    """Kills this process with SIGKILL. For child processes of a test."""

    @override
    async def strike(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


Plan = Callable[[int, str], Fault | None]
"""Gives the fault of an operation, if any, from how many went before it and what it is, such as ``dump job7``."""


def nth(n: int, fault: Fault, only: str = "") -> Plan:
    """Plan a fault for one operation: the ``n``-th, from 0, of those that begin with ``only``."""
    met = 0

    def plan(_: int, operation: str) -> Fault | None:
        nonlocal met
        if not operation.startswith(only):
            return None
        met += 1
        return fault if met == n + 1 else None

    return plan


def always(fault: Fault, only: str = "") -> Plan:
    """Plan a fault for every operation that begins with ``only``."""
    return lambda _, operation: fault if operation.startswith(only) else None


class Faults:
    """Counts the operations of all the wrappers that share it, and strikes some of them as planned."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        """May be changed on the way: None heals everything."""
        self.operations: list[str] = []
        """What was begun so far: a verb, and where there is one the job."""

    @asynccontextmanager
    async def around(self, operation: str) -> AsyncIterator[None]:
        """Count what the block does as one operation, and strike as planned."""
        fault = self.plan(len(self.operations), operation) if self.plan is not None else None
        self.operations.append(operation)
        if fault is not None and not fault.after:
            await fault.strike()
        yield
        if fault is not None and fault.after:
            await fault.strike()


class FaultyRepository(Repository):
    """Any repository, with faults. It shares the location of what it wraps, and so the announcements."""

    def __init__(self, base: Repository, faults: Faults) -> None:
        self.base = base
        self.faults = faults

    @override
    def __repr__(self) -> str:
        # Errors name what is wrapped, here and there.
        return repr(self.base)

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        async with self.faults.around("list"):
            keys = [key async for key in self.base.unfiltered_iter()]
        for key in keys:
            yield key

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        async for page in self._each("list", self.base.pages()):
            yield page

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        async for page in self._each("list", self.base.versions()):
            yield page

    @override
    async def contains(self, job: str, /) -> bool:
        async with self.faults.around(f"contains {job}"):
            return await self.base.contains(job)

    @override
    async def info(self, job: str, /) -> Any:
        async with self.faults.around(f"info {job}"):
            return await self.base.info(job)

    @override
    async def info_all(self) -> dict[str, Any]:
        async with self.faults.around("info_all"):
            return await self.base.info_all()

    @override
    async def delete(self, job: str, /) -> None:
        async with self.faults.around(f"delete {job}"):
            await self.base.delete(job)

    @override
    async def validate(self) -> None:
        async with self.faults.around("validate"):
            await self.base.validate()

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        async with self.faults.around("watch"):
            watch = self.base.watch()
            events = await watch.__aenter__()
        try:
            yield self._each("event", events)
        finally:
            await watch.__aexit__(None, None, None)

    async def _each(self, operation: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        while True:
            try:
                async with self.faults.around(operation):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            yield item

    @property
    @override
    def location(self) -> str:
        return self.base.location

    @property
    @override
    def resources(self) -> frozenset[object]:
        return self.base.resources

    @property
    @override
    def change_source(self) -> ChangeSource:
        return self.base.change_source


class FaultyMetadataRepository(FaultyRepository, MetadataRepository):
    """A metadata repository, with faults."""

    base: MetadataRepository

    def __init__(self, base: MetadataRepository, faults: Faults) -> None:
        super().__init__(base, faults)

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        async with self.faults.around(f"dump {job}"):
            await self.base.dump(job, data)


class FaultyBlobRepository(FaultyRepository, StreamRepository):
    """A blob repository, with faults, also while reading and writing."""

    base: BlobRepository

    def __init__(self, base: BlobRepository, faults: Faults) -> None:
        super().__init__(base, faults)

    @override
    async def reader(self, job: str, /) -> BlobReader:
        async with self.faults.around(f"open rb {job}"):
            return _Reader(await self.base.open(job, "rb"), job, self.faults)

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        async with self.faults.around(f"open wb {job}"):
            return _Writer(await self.base.open(job, "wb"), job, self.faults)


class _Reader(BlobReader):
    def __init__(self, base: BlobReader, job: str, faults: Faults) -> None:
        self._base = base
        self._job = job
        self._faults = faults

    @override
    async def read(self, n: int = -1, /) -> bytes:
        async with self._faults.around(f"read {self._job}"):
            return await self._base.read(n)

    @override
    async def close(self) -> None:
        await self._base.close()


class _Writer(BlobWriter):
    def __init__(self, base: BlobWriter, job: str, faults: Faults) -> None:
        self._base = base
        self._job = job
        self._faults = faults

    @override
    async def write(self, data: bytes, /) -> int:
        async with self._faults.around(f"write {self._job}"):
            return await self._base.write(data)

    @override
    async def close(self) -> None:
        try:
            async with self._faults.around(f"close {self._job}"):
                await self._base.close()
        except BaseException:
            await self._base.abort()
            raise

    @override
    async def abort(self) -> None:
        await self._base.abort()


@overload
def faulty(base: MetadataRepository, faults: Faults) -> FaultyMetadataRepository: ...
@overload
def faulty(base: BlobRepository, faults: Faults) -> FaultyBlobRepository: ...
@overload
def faulty(base: Repository, faults: Faults) -> FaultyRepository: ...


def faulty(base: Repository, faults: Faults) -> FaultyRepository:
    """Wrap a repository, keeping its capability by class."""
    if isinstance(base, MetadataRepository):
        return FaultyMetadataRepository(base, faults)
    if isinstance(base, BlobRepository):
        return FaultyBlobRepository(base, faults)
    return FaultyRepository(base, faults)
