"""What every repository keeps to: the base classes to build on, and one-verb protocols to ask for.

A user's own repository is a subclass of :class:`Repository` with three methods, ``unfiltered_iter``, ``info`` and
``delete``. Everything else has a correct default, which a backend replaces by a faster one. Capabilities are
checked at run time by class (``isinstance(repo, BlobRepository)``); the protocols are for static typing alone.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload
from weakref import WeakKeyDictionary

from typing_extensions import override

from ..job import are_valid_job_ids, check_job, is_valid_job_id
from ..streams import BlobReader, BlobWriter, TextReader, TextWriter
from .changes import ChangeSource, Channel, KeyEvent, channel_of
from .expression import KeyExpression, Leaf

if TYPE_CHECKING:
    from .combinators import MapRepository

__all__ = [
    "BlobRepository",
    "CanContain",
    "CanDelete",
    "CanDump",
    "CanInfo",
    "CanList",
    "CanOpen",
    "CanWatch",
    "CreatingRepository",
    "MetadataRepository",
    "PathRepository",
    "Repository",
    "StreamRepository",
]

_log = logging.getLogger("pydatatask.repository")

PAGE = 1000
"""Keys given at once by a listing that has no page size of its own."""


class CanList(Protocol):
    """Gives its jobs."""

    def __aiter__(self) -> AsyncIterator[str]: ...


class CanContain(Protocol):
    """Tells whether it holds a job."""

    async def contains(self, job: str, /) -> bool:
        """Tell whether the job is there."""
        ...


class CanDelete(Protocol):
    """Deletes a job."""

    async def delete(self, job: str, /) -> None:
        """Delete the job, if it is there."""
        ...


class CanInfo(Protocol):
    """Tells what stands behind a job."""

    async def info(self, job: str, /) -> Any:
        """Give what stands behind the job."""
        ...


class CanDump(Protocol):
    """Stores structured data."""

    async def dump(self, job: str, data: Any, /) -> None:
        """Publish data as the job's value."""
        ...


class CanOpen(Protocol):
    """Opens a job's bytes for reading or writing."""

    @overload
    async def open(self, job: str, mode: Literal["r"] = "r") -> TextReader: ...
    @overload
    async def open(self, job: str, mode: Literal["rb"]) -> BlobReader: ...
    @overload
    async def open(self, job: str, mode: Literal["w"]) -> TextWriter: ...
    @overload
    async def open(self, job: str, mode: Literal["wb"]) -> BlobWriter: ...


class CanWatch(Protocol):
    """Tells of changes as they happen."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        """Subscribe to key events."""
        ...


class Repository(ABC):
    """A set of jobs with something behind each key.

    Async iteration gives each valid job once, in no promised order. Keys that are added or removed meanwhile may or
    may not appear; all others do. Stored keys that are no job ids are skipped, with one counted warning.

    Every verb that takes a job raises :class:`JobIdError` for a string that is no valid job id, and every verb may
    raise :class:`StoreUnavailableError`, which never means that the store is empty.
    """

    @classmethod
    def is_valid_job_id(cls, job: str) -> bool:
        """Tell whether a string may name a job."""
        return is_valid_job_id(job)

    @abstractmethod
    def unfiltered_iter(self) -> AsyncIterator[str]:
        """Give every stored key, valid job id or not."""

    @abstractmethod
    async def info(self, job: str, /) -> Any:
        """Give what stands behind the job: the value of a metadata repository, a path or an address elsewhere.

        What it gives for an absent job each backend documents.
        """

    @abstractmethod
    async def delete(self, job: str, /) -> None:
        """Delete the job. An absent job is fine. After a failure the job is there, whole, or gone."""

    async def contains(self, job: str, /) -> bool:
        """Tell whether the repository holds the job, by one cheap request. Here, for want of better, by listing."""
        check_job(job)
        async for key in self.unfiltered_iter():
            if key == job:
                return True
        return False

    async def info_all(self) -> dict[str, Any]:
        """Give the info of every job. A job that is deleted meanwhile may be missing."""
        return {job: await self.info(job) async for job in self}

    async def validate(self) -> None:  # noqa: B027  # a repository with nothing to make or mend needs none
        """Make what must exist before writing, and mend what a killed process left. Called when a pipeline opens.

        :raises ConfigurationError: if the repository cannot work as it was made.
        """

    async def __aiter__(self) -> AsyncIterator[str]:
        async for page in self.pages():
            for job in page:
                yield job

    async def pages(self) -> AsyncIterator[list[str]]:
        """Give the valid jobs a page at a time, as iteration does one by one."""
        keys = ValidKeys(self)
        page: list[str] = []
        async for key in self.unfiltered_iter():
            page.append(key)
            if len(page) >= PAGE:
                yield keys.valid(page)
                page = []
        yield keys.valid(page)
        keys.report()

    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of jobs, each with a string that changes when its value does: a digest, a modification time.

        A repository that cannot tell gives the empty string; then a replaced value goes unnoticed by polling.
        """
        async for page in self.pages():
            yield [(job, "") for job in page]

    @property
    def location(self) -> str:
        """A string that names what this object stands on. Two objects with one location are one repository.

        It is constant and holds no secret.
        """
        return f"{type(self).__name__}@{id(self):x}"

    @property
    def expression(self) -> KeyExpression:
        """What the keys are made of. A store is a leaf; combinators give their children."""
        return Leaf(self)

    @property
    def resources(self) -> frozenset[object]:
        """The session resources that this repository uses, so that workers open just these."""
        return frozenset()

    @property
    def change_source(self) -> ChangeSource:
        """How one learns all that happens to this repository."""
        return ChangeSource.POLLED

    @cached_property
    def changes(self) -> Channel:
        """Where writes made through our own objects are announced. A repository class announces its own writes."""
        return channel_of(self.location)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        """Tell of changes as they happen. On entering, the subscription stands: enter, then list, and miss nothing.

        A replaced value is :class:`Added` again. Complete only as :attr:`change_source` says: here, for want of
        better, the changes made in this process.
        """
        return self.changes.subscription()

    def map(
        self,
        func: Callable[[Any], Awaitable[Any]],
        filt: Callable[[str], Awaitable[bool]] | None = None,
        allow_deletes: bool = False,
    ) -> MapRepository:
        """Give a view of this repository whose info is ``func`` of this one's, holding the jobs ``filt`` accepts."""
        # Combinators are repositories, so the import cannot stand at the top.
        from .combinators import MapRepository

        return MapRepository(self, func, filt, allow_deletes)


class MetadataRepository(Repository):
    """A repository whose values are small structured data, loaded whole.

    :meth:`dump` then :meth:`info` gives back equal data for everything JSON can say, and for ``datetime`` (aware,
    UTC, truncated to milliseconds), ``bytes``, the infinities and what is not a number. The caller's object is
    neither kept nor changed.
    """

    @abstractmethod
    @override
    async def info(self, job: str, /) -> Any:
        """Give the job's data.

        :raises MalformedValueError: if the stored value cannot be read as data. Names repository and job.
        :raises MissingJobError: for an absent job, where the backend has no empty value for it.
        """

    @abstractmethod
    async def dump(self, job: str, data: Any, /) -> None:
        """Publish ``data`` as the job's value, replacing any earlier one at once.

        After a failure the earlier value stands. After a cancellation either the earlier value or the new one does.

        :raises MalformedValueError: if ``data`` holds what cannot be stored. Nothing was written.
        """


class CreatingRepository(MetadataRepository):
    """A metadata repository that can decide who was first."""

    @abstractmethod
    async def create(self, job: str, data: Any, /) -> bool:
        """Publish ``data`` as the job's value if there is none, and tell whether that was so. The store decides.

        Of several callers at the same time exactly one gets True. After a failure or a cancellation either nothing
        was stored or the whole value.

        :raises MalformedValueError: if ``data`` holds what cannot be stored. Nothing was written.
        """


class BlobRepository(Repository):
    """A repository whose values are byte streams."""

    @overload
    async def open(self, job: str, mode: Literal["r"] = "r") -> TextReader: ...
    @overload
    async def open(self, job: str, mode: Literal["rb"]) -> BlobReader: ...
    @overload
    async def open(self, job: str, mode: Literal["w"]) -> TextWriter: ...
    @overload
    async def open(self, job: str, mode: Literal["wb"]) -> BlobWriter: ...

    @abstractmethod
    async def open(
        self, job: str, mode: Literal["r", "rb", "w", "wb"] = "r"
    ) -> TextReader | BlobReader | TextWriter | BlobWriter:
        """Open the job's value: ``r`` and ``w`` as UTF-8 text, ``rb`` and ``wb`` as bytes.

        What is written is published when the ``async with`` block ends, and discarded when it is left by an
        exception. Memory use is bounded whatever the size of the value.

        :raises MissingJobError: when reading an absent job.
        :raises ValueError: for another mode.
        """


class StreamRepository(BlobRepository):
    """A blob repository in the making: a backend gives byte streams, and text is laid over them here."""

    @abstractmethod
    async def reader(self, job: str, /) -> BlobReader:
        """Open a valid job's bytes for reading.

        :raises MissingJobError: if there is no such job.
        """

    @abstractmethod
    async def writer(self, job: str, /) -> BlobWriter:
        """Begin a new value for a valid job."""

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
        check_job(job)
        if mode == "rb":
            return await self.reader(job)
        if mode == "wb":
            return await self.writer(job)
        if mode == "r":
            return TextReader(await self.reader(job), f"job {job!r} in {self!r}")
        if mode == "w":
            return TextWriter(await self.writer(job))
        raise ValueError(f"Cannot open job {job!r} in {self!r} with mode {mode!r}. Use 'r', 'rb', 'w' or 'wb'.")


class PathRepository(Repository):
    """A repository whose values are files or folders of this machine, so that a program here can make them."""

    @property
    @abstractmethod
    def holds_folders(self) -> bool:
        """Whether values are folders, and not files."""

    @abstractmethod
    async def publish(self, job: str, path: str, /) -> bool:
        """Publish a copy of what stands at a path as the job's value, at once. What stands there stays.

        After a failure nothing was published; after a cancellation either the whole value or nothing.

        :returns: whether anything stands there; if not, nothing is done.
        :raises ConfigurationError: if it is a folder where files are held, or the other way round.
        """


class ValidKeys:
    """Picks the valid job ids of one listing and counts the rest."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self._skipped = 0
        self._example = ""

    def valid(self, keys: Collection[str]) -> list[str]:
        """Give the keys that are job ids."""
        if are_valid_job_ids(keys):
            return list(keys)
        valid: list[str] = []
        for key in keys:
            if is_valid_job_id(key):
                valid.append(key)
            else:
                self.skip(key)
        return valid

    def skip(self, key: str) -> None:
        """Count one key that is no job id."""
        self._skipped += 1
        self._example = key

    def report(self) -> None:
        """Warn of what was skipped, once per location and count."""
        location = self._repo.changes
        if self._skipped and _reported.get(location) != self._skipped:
            _reported[location] = self._skipped
            _log.warning(
                "%r: skipped %d stored keys that are no job ids, for example %r.",
                self._repo,
                self._skipped,
                self._example,
            )


_reported: WeakKeyDictionary[Channel, int] = WeakKeyDictionary()
"""By channel, because a location in memory may be used again once nobody holds it."""
