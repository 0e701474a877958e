"""The pipeline lock as a lease in a repository, for controllers on several machines.

The repository must be able to create a key only if it is absent; nothing more is asked of it. Leases are numbered.
The highest number counts; its holder renews it, and nobody else writes it. Who finds that the highest one was
released, or was not renewed for its whole term, creates the next number, which only one can do, and removes the
lower ones. The highest is never deleted, so that a number is never given twice.

Nobody's clock is compared with another's: a lease has run out when it was watched for its term by the watcher's own
clock and did not change. Its holder stops launching a third of the term before that, by its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen
from typing_extensions import override

from ..clock import now
from ..errors import LockHeldError
from ..repository.changes import ChangeSource, KeyEvent, Resync
from ..repository.protocols import CreatingRepository
from .lock import Holder, PipelineLock, refusal

__all__ = ["Lease"]

_log = logging.getLogger("pydatatask.pipeline")

TERM = 60.0
"""Seconds after which a lease that was not renewed has run out."""


@frozen
class _Seen:
    number: int
    data: Any

    @property
    def released(self) -> bool:
        return isinstance(self.data, dict) and bool(self.data.get("released"))


class Lease(PipelineLock):
    """A lock for all controllers that reach one repository."""

    def __init__(self, repo: CreatingRepository, name: str = "controller", term: float = TERM) -> None:
        """:param name: tells apart the pipelines that keep their leases in one repository.
        :param term: seconds that a lease lasts without renewal, the same for all controllers.
        """
        self._repo = repo
        self._name = name
        self._term = term
        self._number: int | None = None
        self._good_until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._me: dict[str, Any] = {}

    @property
    @override
    def guards(self) -> str:
        return f"a lease in {self._repo!r} guards this pipeline on every machine"

    @override
    async def acquire(self, lost: Callable[[], None]) -> None:
        await self._repo.validate()
        self._me = await asyncio.to_thread(_this_process)
        seen = await self._highest()
        if seen is not None and not seen.released and not await asyncio.to_thread(_died_here, seen.data):
            await self._watch_out(seen)
        number = 1 if seen is None else seen.number + 1
        content = self._content(0)
        # Others count its term from when it is written, which is later.
        self._good_until = _clock() + self._term * 2 / 3
        try:
            await self._take(number, content)
        except LockHeldError:
            raise
        except BaseException:
            await self._abandon(number, content)
            raise
        self._number = number
        self._renewing = asyncio.ensure_future(self._renew(number, lost))

    async def _take(self, number: int, content: dict[str, Any]) -> None:
        if not await self._repo.create(self._key(number), content):
            raise refusal(await self.holder(), self.guards)
        newest = await self._highest()
        if newest is None or newest.number != number:
            # Others have gone further while we were slow.
            await self._repo.delete(self._key(number))
            raise refusal(await self.holder(), self.guards)
        await self._remove_lower(number)

    async def _abandon(self, number: int, content: dict[str, Any]) -> None:
        """Release a lease that may have been taken, if the repository lets us. Otherwise it runs out."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._term / 6):
                if await self._repo.info(self._key(number)) == content:
                    await self._repo.dump(self._key(number), {**content, "released": True})

    @override
    def is_held(self) -> bool:
        return self._number is not None and _clock() < self._good_until

    @override
    async def release(self) -> None:
        renewing, self._renewing = self._renewing, None
        number, self._number = self._number, None
        if renewing is None or number is None:
            return
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await self._repo.dump(self._key(number), {**self._content(-1), "released": True})

    @override
    async def holder(self) -> Holder | None:
        seen = await self._highest()
        return None if seen is None or seen.released else Holder.read(seen.data)

    async def _watch_out(self, seen: _Seen) -> None:
        """Wait until a lease has run out.

        :raises LockHeldError: as soon as it shows a sign of life.
        """
        renewed = seen.data.get("renewed") if isinstance(seen.data, dict) else None
        if isinstance(renewed, datetime) and abs((now() - renewed).total_seconds()) < self._term:
            # Clocks that differ can only make this too careful.
            raise refusal(Holder.read(seen.data), self.guards)
        _log.warning("Waiting %.0f s to see whether the controller that holds %s lives.", self._term, self.guards)
        until = asyncio.get_running_loop().time() + self._term
        async with self._repo.watch() as events:
            while asyncio.get_running_loop().time() < until:
                await self._next_look(events, until)
                current = await self._highest()
                if current != seen:
                    raise refusal(None if current is None else Holder.read(current.data), self.guards)

    async def _next_look(self, events: AsyncIterator[KeyEvent], until: float) -> None:
        """Wait until the repository tells of a change or, if it cannot, for a while."""
        if self._repo.change_source is ChangeSource.POLLED:
            await asyncio.sleep(self._term / 12)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while (event := await anext(events, None)) is not None:
                    if isinstance(event, Resync) or self._number_of(event.job) is not None:
                        return
            # Nothing more will be told.
            await asyncio.sleep(self._term / 12)

    async def _renew(self, number: int, lost: Callable[[], None]) -> None:
        beat = 0
        while _clock() < self._good_until:
            await asyncio.sleep(self._term / 6)
            begun = _clock()
            beat += 1
            try:
                async with asyncio.timeout(max(self._good_until - begun, 0)):
                    if await self._repo.contains(self._key(number + 1)):
                        break
                    await self._repo.dump(self._key(number), self._content(beat))
            except Exception as error:  # noqa: BLE001  # whatever it is, the lease runs out
                _log.warning("%s cannot be renewed, and this is tried again until it runs out: %s", self.guards, error)
                continue
            # Once it has run out, another one may have it, though the renewal went through at last.
            if _clock() < self._good_until:
                self._good_until = begun + self._term * 2 / 3
        self._good_until = 0.0
        lost()

    async def _highest(self) -> _Seen | None:
        numbers = [number async for job in self._repo if (number := self._number_of(job)) is not None]
        for number in sorted(numbers, reverse=True):
            with contextlib.suppress(LookupError):
                return _Seen(number, await self._repo.info(self._key(number)))
        return None

    async def _remove_lower(self, number: int) -> None:
        async for job in self._repo:
            lower = self._number_of(job)
            if lower is not None and lower < number:
                await self._repo.delete(job)

    def _key(self, number: int) -> str:
        return f"{self._name}.{number}"

    def _number_of(self, job: str) -> int | None:
        name, _, number = job.rpartition(".")
        return int(number) if name == self._name and number.isdecimal() else None

    def _content(self, beat: int) -> dict[str, Any]:
        return {**self._me, "renewed": now(), "beat": beat}


def _clock() -> float:
    """Give seconds that pass while the machine sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _this_process() -> dict[str, Any]:
    me = {**Holder.this_process().data(), "boot": _boot(), "start": _start_of(os.getpid())}
    # What does not apply on this system is left out.
    return {name: value for name, value in me.items() if value is not None}


def _died_here(data: Any) -> bool:
    """Tell whether the holder was a process of this machine that is no more."""
    holder = Holder.read(data)
    if holder is None or holder.host != platform.node() or not data.get("boot") or data["boot"] != _boot():
        return False
    return bool(data.get("start") != _start_of(holder.pid))


def _boot() -> str | None:
    """Name this boot of this machine and the namespace that process numbers are of."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def _start_of(pid: int) -> str | None:
    """Give when a process started, in ticks since boot; None if there is none."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
