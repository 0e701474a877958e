"""What an execution site is, and what it tells of the runs on it.

A site is a POSIX host, a Docker engine or a Kubernetes namespace. It lets something exist once by its name, so it
decides who runs; it outlives the controller, and what it tells is the truth about runs.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from attrs import field, frozen

from ..errors import MissingJobError, SiteUnavailableError
from ..streams import BlobReader
from ..task.record import Cause, Result
from .following import FollowingReader

__all__ = ["Cancellation", "ExecutionSite", "Gone", "Phase", "RunName", "Sighting", "Snapshot", "Spec"]

Cancellation = Literal["cancelled", "dropped"]
"""Why a run is ended on purpose: to be recorded as cancelled, or to leave no record."""

BEGINNING = 0.5
"""Seconds between two looks at a run whose beginning is waited for."""

Output = TypeVar("Output", bound=BlobReader)
Spec = TypeVar("Spec", contravariant=True)
"""What a site makes a run of: a host's files, a container's configuration, a pod's manifest."""


class RunName(NamedTuple):
    """One attempt at one job of one task. The app is the site's."""

    task: str
    job: str
    attempt: int


class Phase(Enum):
    """How far a run has come, as its site sees it."""

    CLAIMED = "claimed"
    """It exists and has not begun. Starting it again is allowed, and starts it once."""
    RUNNING = "running"
    ENDED = "ended"
    LEAVING = "leaving"
    """It is being taken away, by somebody, and is to be awaited."""


@frozen(kw_only=True)
class Sighting:
    """What a site told of one run. Times are aware, UTC, by the site's clock."""

    run: RunName
    owner: str
    """The fingerprint of the pipeline that claimed it."""
    claim: str
    """What tells this claim from earlier and later ones of the same name."""
    phase: Phase
    result: Result | None = None
    """How it ended, if it has."""
    cause: Cause | None = None
    return_code: int | None = None
    return_codes: Mapping[str, int] | None = None
    """Those of all programs of the run, by name, where it has several."""
    reason: str | None = None
    """What the site says, in its own words: why it waits, or how it ended."""
    start_time: datetime | None = None
    end_time: datetime | None = None
    host: str | None = None
    node: str | None = None
    image: str | None = None
    cancellation: Cancellation | None = None
    """What somebody asked for who wanted it to end."""
    identity: Mapping[str, Any] = field(factory=dict)
    """What proves that it is this run and no other: a pid with its start time, a container's or pod's id."""


@frozen
class Gone:
    """A run is no longer at its site."""

    run: RunName


@frozen
class Snapshot:
    """All the runs at a site. What it does not hold is not there."""

    runs: Collection[Sighting]


class ExecutionSite(ABC, Generic[Spec]):
    """Where runs happen, outside of the controller.

    Every verb may be repeated: done twice, or begun by a controller that died and finished by the next, it comes to
    the same. Every verb may raise :class:`SiteUnavailableError`, which says nothing about runs.
    """

    creating_starts = False
    """Whether a run begins by being created, so that there is nothing to start."""
    tells_what_is_asked = False
    """Whether a watch tells what somebody asks of a run that has ended."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The site's name for people."""

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Sighting | Gone | Snapshot]]:
        """Tell of all runs of the app: a :class:`Snapshot` first, then what changes.

        Whatever happens after entering is told. Sightings may repeat. The iterator raises
        :class:`SiteUnavailableError` when the site can be watched no longer; the caller enters again.
        """

    async def sweep(self) -> None:  # most sites keep nothing of what was interrupted
        """Delete what steps that were interrupted have left. Called by whoever drives the pipeline, once."""

    @abstractmethod
    async def claim(self, run: RunName, owner: str, spec: Spec) -> Sighting | None:
        """Create a run, whole, unless one of that name exists. The site decides; of several callers one gets it.

        A failure or a cancellation leaves the run claimed or not; the next sighting tells.

        :returns: the run, or None if it exists already.
        :raises SiteFullError: if the site has no room for it. Nothing of it is left.
        """

    @abstractmethod
    async def look(self, task: str, job: str) -> list[Sighting]:
        """See all attempts at a job as they are now, oldest first."""

    async def look_all(self, task: str) -> list[Sighting]:
        """See all runs of a task as they are now."""
        async with self.watch() as events:
            async for event in events:
                if isinstance(event, Snapshot):
                    return [seen for seen in event.runs if seen.run.task == task]
        raise SiteUnavailableError(f"{self.host} does not tell what runs there.")

    @abstractmethod
    async def start(self, run: RunName) -> None:
        """Let a claimed run begin, if it has not. The site sees that it begins once."""

    @abstractmethod
    async def cancel(self, sighting: Sighting, how: Cancellation) -> None:
        """Ask for the end of a run, or see to it that it never begins. A sighting tells when it has ended."""

    @abstractmethod
    async def finish(self, sighting: Sighting) -> Sighting:
        """Take care of a run that ended without saying how, and tell how that counts."""

    @abstractmethod
    async def vanished(self, last: Sighting) -> Sighting:
        """Tell what became of a run that is no longer where it was claimed. It counts as ended only on proof."""

    @abstractmethod
    async def open_output(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int = 0) -> BlobReader:
        """Open what a run has written so far, from a byte on.

        :raises MissingJobError: if nothing of it is left.
        """

    async def follow_output(self, run: RunName, stream: Literal["stdout", "stderr"]) -> BlobReader:
        """Open what a run writes, from its beginning on, to be read to its end: reading waits for more.

        A claimed run is waited for until it begins.

        :raises MissingJobError: if nothing of it is there.
        """

        async def is_over() -> bool:
            runs = await self.look(run.task, run.job)
            return not any(seen.run == run and seen.phase is not Phase.ENDED for seen in runs)

        return FollowingReader(await self.once_begun(run, lambda: self.open_output(run, stream)), is_over)

    async def once_begun(self, run: RunName, opened: Callable[[], Awaitable[Output]]) -> Output:
        """Open something of a run that is there when it has begun.

        :raises MissingJobError: if it is not there then, or the run is gone.
        """
        while True:
            try:
                return await opened()
            except MissingJobError:
                runs = await self.look(run.task, run.job)
                if not any(seen.run == run and seen.phase is Phase.CLAIMED for seen in runs):
                    # It may have begun meanwhile.
                    return await opened()
            await asyncio.sleep(BEGINNING)

    @abstractmethod
    async def release(self, task: str, job: str) -> None:
        """Delete all attempts at a job. Only what has ended, or never began, is released."""
