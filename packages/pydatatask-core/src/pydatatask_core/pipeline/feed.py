"""Keeps what is known of one store's keys true: by its own announcements, by watching it, or by polling it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

from attrs import define, frozen

from ..repository.changes import Added, ChangeSource, KeyEvent, Removed
from ..repository.protocols import Repository
from .events import Event, Listed, StoreBack, StoreUnreachable
from .readiness import Readiness

__all__ = ["Feed", "Polling"]

_log = logging.getLogger("pydatatask.pipeline")


@frozen
class Polling:
    """How often a store that cannot notify is listed. All in seconds."""

    shortest: float = 1.0
    longest: float = 30.0
    """The longest interval, unless listing takes so long that ``share`` demands a longer one."""
    growth: float = 1.5
    """By which the interval grows while nothing changes."""
    share: float = 0.05
    """The largest share of the time that is spent listing."""


class Feed:
    """The changes of one store, told to readiness."""

    def __init__(
        self,
        readiness: Readiness,
        number: int,
        polling: Polling,
        emit: Callable[[Event], None],
        wake: Callable[[], None],
    ) -> None:
        """``number`` is the leaf's in ``readiness``; ``wake`` is called whenever something may have changed."""
        bits = readiness.leaves[number]
        self.repo: Repository = bits.leaf.repo
        self.location = bits.leaf.location
        self.error: Exception | None = None
        """Why the store cannot be asked now, if it cannot."""
        self.listings = 0
        """Complete listings so far."""
        self._readiness = readiness
        self.number = number
        self._values_matter = bool(bits.asks or bits.relations)
        self._versions: dict[str, int] = {}
        self._polling = polling
        self._emit = emit
        self._wake = wake
        self._settled = asyncio.Event()
        self._admitted = asyncio.Event()
        self._admitted.set()
        self._poke = asyncio.Event()
        self._changes = 0
        self._took = 0.0
        self._checking: dict[str, list[_Check]] = {}

    @property
    def settled(self) -> bool:
        """Whether the store was listed, or found to be unreachable."""
        return self._settled.is_set()

    async def wait_settled(self) -> None:
        """Wait until the store was listed, or found to be unreachable."""
        await self._settled.wait()

    def hold_back(self) -> None:
        """Ask the store nothing until it is admitted: it is not open, so what it holds cannot be told."""
        self._admitted.clear()
        self._settled.set()

    def admit(self) -> None:
        """The store is open: begin to follow it."""
        self._settled.clear()
        self._admitted.set()

    async def look(self) -> None:
        """List the store now, and wait until that is done or the store is found to be unreachable."""
        told = self.error is None and self._admitted.is_set()
        if told and self.repo.change_source is not ChangeSource.LOCAL:
            self._settled.clear()
            self._poke.set()
            await self._settled.wait()

    async def list_once(self) -> None:
        """List the store, and do not follow it. Afterwards it is settled: listed, or found to be unreachable."""
        try:
            await self._list()
        except Exception as error:  # noqa: BLE001  # told, and the other stores are listed all the same
            self.error = error
            self._settled.set()

    async def run(self) -> None:
        """Follow the store until cancelled. What it announces in this process is told at once."""
        with self.repo.changes.listening(self._apply):
            await self._admitted.wait()
            delay = 1.0
            while True:
                try:
                    await self._follow()
                except Exception as error:  # noqa: BLE001  # whatever a user's store raises, the others go on
                    delay = 1.0 if self.error is None else min(2 * delay, 60.0)
                    self._report(error, delay)
                await self._sleep(delay)

    async def _follow(self) -> NoReturn:
        source = self.repo.change_source
        if source is not ChangeSource.WATCHED:
            await self._list()
            if source is ChangeSource.LOCAL:
                await asyncio.Event().wait()
            await self._poll()
        async with self.repo.watch() as events:
            reading = asyncio.ensure_future(self._read(events))
            try:
                while True:
                    # Events are read while the store is listed, so that their queue does not overflow meanwhile.
                    await self._list()
                    poked = asyncio.ensure_future(self._poke.wait())
                    try:
                        await asyncio.wait({reading, poked}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        poked.cancel()
                    if reading.done():
                        reading.result()
                        reading = asyncio.ensure_future(self._read(events))
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, events: AsyncIterator[KeyEvent]) -> None:
        """Apply events until some were lost."""
        async for event in events:
            if isinstance(event, Removed):
                # What was watched may be older than what was announced here: deleted, then written again.
                await self.check(event.job)
            elif isinstance(event, Added):
                self._apply(event)
            else:
                return

    async def _poll(self) -> NoReturn:
        polling = self._polling
        interval = polling.shortest
        while True:
            await self._sleep(max(interval, self._took * (1 / polling.share - 1)))
            before = self._changes
            await self._list()
            grown = polling.shortest if self._changes != before else interval * polling.growth
            interval = min(grown, polling.longest)

    async def _sleep(self, delay: float) -> None:
        try:
            async with asyncio.timeout(delay):
                await self._poke.wait()
        except TimeoutError:
            pass

    async def _list(self) -> None:
        started = asyncio.get_running_loop().time()
        self._poke.clear()
        count = self._readiness.count(self.number)
        self._readiness.begin_listing(self.number)
        if self._values_matter:
            async for pairs in self.repo.versions():
                self._note_versions(pairs)
                self._readiness.listed(self.number, [job for job, _ in pairs])
        else:
            async for page in self.repo.pages():
                self._readiness.listed(self.number, page)
        for job in self._readiness.end_listing(self.number):
            # Told only what the store says after the listing: it may have been added or removed meanwhile.
            await self.check(job)
        jobs = self._readiness.count(self.number)
        self._changes += jobs != count
        self.listings += 1
        self._took = asyncio.get_running_loop().time() - started
        self._emit(Listed(self.location, jobs, self._took))
        self._reached()

    async def check(self, job: str) -> None:
        """Ask the store for one job, and tell readiness.

        :raises StoreUnavailableError: if the store does not answer.
        """
        check = _Check()
        self._checking.setdefault(job, []).append(check)
        try:
            found = await self.repo.contains(job)
        finally:
            self._checking[job].remove(check)
            if not self._checking[job]:
                del self._checking[job]
        # What was announced meanwhile is newer than the answer.
        if not check.outdated and found != self._readiness.holds(self.number, job):
            self._apply(Added(job) if found else Removed(job))
        self._wake()

    def _note_versions(self, pairs: list[tuple[str, str]]) -> None:
        """A key whose value was replaced is added again, and so is one that may have been.

        That is one which was announced before its version was known: what was announced may have been replaced since.
        """
        versions = self._versions
        for job, version in pairs:
            digest = hash(version)
            known = versions.get(job)
            versions[job] = digest
            if known != digest and (known is not None or (version and self._readiness.holds(self.number, job))):
                self._apply(Added(job))

    def _apply(self, event: KeyEvent) -> None:
        if type(event) is Added:
            self._readiness.added(self.number, event.job)
        elif type(event) is Removed:
            self._readiness.removed(self.number, event.job)
            self._versions.pop(event.job, None)
        else:
            return
        self._changes += 1
        if self._checking:
            for check in self._checking.get(event.job, ()):
                check.outdated = True

    def _report(self, error: Exception, delay: float) -> None:
        if self.error is None:
            _log.warning("%s does not answer, and is asked again: %s", self.location, error)
        self.error = error
        self._emit(StoreUnreachable(self.location, error, delay))
        self._poke.clear()
        self._settled.set()
        self._wake()

    def _reached(self) -> None:
        if self.error is not None:
            self.error = None
            self._emit(StoreBack(self.location))
        if not self._poke.is_set():
            self._settled.set()
        self._wake()


@define(eq=False)
class _Check:
    """A store is being asked for one job."""

    outdated: bool = False
    """Something was told of the job meanwhile."""
