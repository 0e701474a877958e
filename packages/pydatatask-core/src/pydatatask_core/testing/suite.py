"""What a backend declares and supplies to have its repository tested, and what all suites share.

A backend writes one class per repository in its own tests::

    class TestShelf(BlobRepositoryTests[ShelfRepository]):
        absent_info = "given"

        @pytest.fixture
        async def repo(self, tmp_path: Path) -> ShelfRepository:
            return ShelfRepository(tmp_path)

        async def twin(self, repo: ShelfRepository) -> ShelfRepository: ...
        async def peek(self, repo: ShelfRepository, job: str) -> bytes | None: ...
        async def poke(self, repo: ShelfRepository, job: str, value: bytes) -> None: ...
        async def poke_raw(self, repo: ShelfRepository, key: str, raw: bytes) -> None: ...
        async def pluck(self, repo: ShelfRepository, job: str) -> None: ...

The back doors reach the store past the repository's class, so that a repository is never tested by itself. A flag
may skip a test; a test is never overridden.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import pytest

from ..repository.protocols import Repository

__all__ = ["FOREIGN_KEYS", "INVALID_JOBS", "AbsentInfo", "R", "Suite"]

AbsentInfo = Literal["none", "empty", "missing", "given"]
R = TypeVar("R", bound=Repository)

INVALID_JOBS = ("", "-a", "a-", ".a", "a.", "_a", "a/b", "a b", "caf\u00e9", "a\n", "a\0b", "..", "a" * 64)
"""Strings that are no job ids, one for each way to go wrong."""

FOREIGN_KEYS = ("has space", "-dash", "trailing.", "caf\u00e9", "a" * 64)
"""Keys that somebody else may have put into a store, and that are no job ids."""

_AT_ONCE = 16
_LONG = 20.0


class Suite(ABC, Generic[R]):
    """The flags and back doors of one backend, and the fixture ``repo``, which gives a fresh empty repository."""

    absent_info: ClassVar[AbsentInfo] = "none"
    """``info`` of an absent job: None, ``{}``, MissingJobError, or (paths and addresses) the same as if it existed."""
    checks_jobs: ClassVar[bool] = True
    """Every verb refuses invalid job ids. Only a user's own minimal repository may leave that to its callers."""
    cheap_contains: ClassVar[bool] = True
    """``contains`` asks for one key and lists nothing."""
    writable: ClassVar[bool] = True
    """Values can be written through the repository; otherwise only the back door makes them."""
    announces: ClassVar[bool] = True
    """Writes and deletes made through our objects are announced."""
    twins: ClassVar[bool] = True
    """:meth:`twin` can give a second object on the same location."""
    crosses_loops: ClassVar[bool] = True
    """The repository may be used from another thread's event loop as it stands."""
    watches: ClassVar[bool] = False
    """``watch()`` tells of what others do to the store, and :meth:`pluck` is there."""
    versioned: ClassVar[bool] = True
    """``versions`` tells a replaced value from the earlier one."""
    foreign_keys: ClassVar[tuple[str, ...]] = FOREIGN_KEYS
    """Keys that :meth:`poke_raw` can make and the repository must skip."""
    many: ClassVar[int] = 1100
    """Jobs in tests of long listings; more than fit into one page."""
    deadline: ClassVar[float] = 20.0
    """Seconds after which something that must happen is taken not to happen."""
    values: ClassVar[tuple[Any, Any]]
    """Two different values that the repository can hold."""

    async def twin(self, repo: R) -> R:
        """Give a second object on the same location, as another part of the program would make it."""
        raise NotImplementedError

    @abstractmethod
    async def peek(self, repo: R, job: str) -> Any:
        """Read the job's value from the store, past the repository; None if there is none."""

    @abstractmethod
    async def poke(self, repo: R, job: str, value: Any) -> None:
        """Put the job's value into the store at once, past the repository, as another program would."""

    @abstractmethod
    async def poke_raw(self, repo: R, key: str, raw: Any) -> None:
        """Put anything under any key, where the repository would find a job of that name (suffix and all)."""

    async def pluck(self, repo: R, job: str) -> None:
        """Delete the job from the store, past the repository. Needed if the repository watches."""
        raise NotImplementedError

    async def put(self, repo: R, job: str, value: Any) -> None:
        """Write a value through the repository."""
        raise NotImplementedError

    def need(self, **flags: bool) -> None:
        """Skip the running test unless all these flags of the backend are set."""
        lacking = ", ".join(name for name, flag in flags.items() if not flag)
        if lacking:
            pytest.skip(f"{type(self).__name__} declares that it lacks: {lacking}")

    async def fill(self, repo: R, jobs: Iterable[str]) -> set[str]:
        """Poke the first value under many jobs and give their set."""
        todo = set(jobs)
        names = iter(todo)

        async def worker() -> None:
            for job in names:
                await self.poke(repo, job, self.values[0])

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
        return todo


async def listed(repo: Repository) -> list[str]:
    """Give what iteration gives."""
    return [job async for job in repo]


async def paged(repo: Repository) -> list[list[str]]:
    """Give what listing by page gives."""
    return [page async for page in repo.pages()]


async def versions_of(repo: Repository) -> Mapping[str, str]:
    """Give each job's version; fails if a job is listed twice."""
    pairs = [pair async for page in repo.versions() for pair in page]
    assert len(dict(pairs)) == len(pairs), "versions() gave a job twice"
    return dict(pairs)


async def cut_short(work: Coroutine[Any, Any, object], turns: int) -> None:
    """Start work, let the event loop turn so many times, cancel the work, and wait until it has ended."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=_LONG)
    assert task.done(), "work that was cancelled did not end"
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
