"""What is known of the runs at one site, kept up to date by one watch however many tasks and jobs there are."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from attrs import evolve

from ..errors import PydatataskError, SiteUnavailableError
from .site import ExecutionSite, Gone, Phase, RunName, Sighting, Snapshot

__all__ = ["Observation", "observation_of"]

_log = logging.getLogger("pydatatask.task")

REMEMBERED = 10_000
"""Claims that were released and are told from those that follow. More than can be on their way from a site."""

Job = tuple[str, str]
"""A task's name and a job."""

Ask = Callable[[Sighting], Awaitable[Sighting]]
"""A way to find out how a run ended."""


class Observation:
    """The runs at a site. Entering waits for the first complete view of them; from then on it is kept by events."""

    def __init__(self, site: ExecutionSite[Any]) -> None:
        self.site = site
        self.obstacle: Exception | None = None
        """Why the site cannot be watched now, if it cannot."""
        self._runs: dict[Job, dict[int, Sighting]] = {}
        self._waiting: dict[Job, set[asyncio.Future[None]]] = {}
        self._users = 0
        self._watcher: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._released: OrderedDict[str, None] = OrderedDict()
        """The claims that were released last. What was seen of them before may be told after."""
        self._checks: set[asyncio.Task[None]] = set()
        self._later_checks: set[asyncio.Task[None]] = set()
        """Those to which the site gave no answer before: nobody waits for them."""
        self.listeners: set[Callable[[str, str], None]] = set()
        """Called with a task's name and a job when what is known of the job changed. Must not raise."""

    @property
    def is_complete(self) -> bool:
        """Whether all runs at the site are known, and kept up to date."""
        first = self._first
        return self._watcher is not None and first is not None and first.done() and first.exception() is None

    async def open(self) -> None:
        """Begin to watch, unless somebody has begun, and wait for the first complete view.

        :raises SiteUnavailableError: if the site cannot be watched. It is not watched then.
        """
        self._users += 1
        if self._watcher is None:
            self._first = asyncio.get_running_loop().create_future()
            self._watcher = asyncio.ensure_future(self._watch())
        assert self._first is not None
        try:
            await asyncio.shield(self._first)
            # Of some runs it must be found out first how they ended.
            await asyncio.gather(*self._checks, return_exceptions=True)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop watching when the last user has closed."""
        self._users -= 1
        if self._users or self._watcher is None:
            return
        watcher, self._watcher = self._watcher, None
        tasks = (watcher, *self._checks, *self._later_checks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._runs.clear()
        self.obstacle = None
        for job in list(self._waiting):
            self.wake(*job)

    def jobs(self, task: str) -> list[str]:
        """Give the jobs of which a task has a run at the site, live or ended."""
        return [job for name, job in self._runs if name == task]

    def attempts(self, task: str, job: str) -> list[Sighting]:
        """Give what is known of the attempts at a job, oldest first."""
        runs = self._runs.get((task, job))
        return [runs[attempt] for attempt in sorted(runs)] if runs else []

    def latest(self, task: str, job: str) -> Sighting | None:
        """Give what is known of the last attempt at a job."""
        runs = self._runs.get((task, job))
        return runs[max(runs)] if runs else None

    def see(self, sighting: Sighting) -> None:
        """Take in what was seen of a run."""
        run = sighting.run
        key = (run.task, run.job)
        if sighting.claim in self._released:
            return
        runs = self._runs.setdefault(key, {})
        earlier = runs.get(run.attempt)
        if earlier is not None and earlier.phase is Phase.ENDED and sighting.phase is not Phase.LEAVING:
            # A run does not come back to life: this was seen before. But somebody may want no other attempt by now.
            if sighting.cancellation != "cancelled" or earlier.cancellation is not None:
                return
            sighting = evolve(earlier, cancellation="cancelled")
        if sighting != earlier:
            runs[run.attempt] = sighting
            self.wake(*key)

    def forget(self, task: str, job: str) -> None:
        """A job's runs were released."""
        for sighting in self._runs.pop((task, job), {}).values():
            self._released[sighting.claim] = None
        while len(self._released) > REMEMBERED:
            self._released.popitem(last=False)
        self.wake(task, job)

    def wake(self, task: str, job: str) -> None:
        """Have those look again who wait for a job."""
        for listener in tuple(self.listeners):
            listener(task, job)
        for waiter in self._waiting.pop((task, job), ()):
            if not waiter.done():
                waiter.set_result(None)

    async def change(self, task: str, job: str, since: Sighting | None, at_most: float | None = None) -> None:
        """Wait until what is known of a job's last attempt differs from ``since``, or somebody wakes, or time is up."""
        if self.latest(task, job) is not since:
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault((task, job), set())
        waiters.add(waiter)
        try:
            async with asyncio.timeout(at_most):
                await waiter
        except TimeoutError:
            pass
        finally:
            waiters.discard(waiter)

    async def _watch(self) -> None:
        """Watch, and begin again with backoff when the site went out of reach."""
        delay = 0.5
        while True:
            try:
                async with self.site.watch() as events:
                    async for event in events:
                        self._take(event)
                        delay = 0.5
            except Exception as error:  # noqa: BLE001  # whatever it is, what runs at the site goes on
                self.obstacle = error
                first = self._first
                if first is not None and not first.done():
                    first.set_exception(error)
                    # Retrieved by those who wait, if any still do.
                    first.exception()
                    self._watcher = None
                    return
                _log.warning("%s cannot be watched; tried again in %.1f s: %s", self.site.host, delay, error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, 30.0)

    def _take(self, event: Sighting | Gone | Snapshot) -> None:
        if isinstance(event, Sighting):
            self._settle(event)
        elif isinstance(event, Gone):
            self._lose(event.run)
        else:
            present = {sighting.run for sighting in event.runs}
            known = [run.run for runs in self._runs.values() for run in runs.values()]
            for sighting in event.runs:
                self._settle(sighting)
            for run in known:
                if run not in present:
                    self._lose(run)
            self.obstacle = None
            if self._first is not None and not self._first.done():
                self._first.set_result(None)

    def _settle(self, sighting: Sighting) -> None:
        """Take in a sighting; one that ended without saying how is finished first."""
        if sighting.phase is Phase.ENDED and sighting.result is None:
            self._check(self.site.finish, sighting)
        else:
            self.see(sighting)

    def _lose(self, run: RunName) -> None:
        """A run that was known is not at its site: find out what that means."""
        sighting = self._runs.get((run.task, run.job), {}).get(run.attempt)
        if sighting is not None and sighting.phase is not Phase.ENDED:
            self._check(self.site.vanished, sighting)

    def _check(self, how: Ask, sighting: Sighting, delay: float = 0.0) -> None:
        check = asyncio.ensure_future(self._find_out(how, sighting, delay))
        checks = self._later_checks if delay else self._checks
        checks.add(check)
        check.add_done_callback(checks.discard)

    async def _find_out(self, how: Ask, sighting: Sighting, delay: float) -> None:
        """Ask how a run ended, again and again if the site does not answer: it may never tell of the run anew."""
        await asyncio.sleep(delay)
        earlier = self._runs.get((sighting.run.task, sighting.run.job), {}).get(sighting.run.attempt)
        if sighting.claim in self._released:
            return
        if earlier is not None and (earlier.phase is Phase.ENDED or earlier.claim != sighting.claim):
            return
        try:
            self.see(await how(sighting))
        except PydatataskError as error:
            _log.warning("What became of %s on %s is not known yet: %s", sighting.run, self.site.host, error)
            if isinstance(error, SiteUnavailableError):
                self._check(how, sighting, min(max(1.0, 2 * delay), 60.0))


_observations: WeakKeyDictionary[ExecutionSite[Any], Observation] = WeakKeyDictionary()


def observation_of(site: ExecutionSite[Any]) -> Observation:
    """Give the one observation of a live site."""
    found = _observations.get(site)
    if found is None:
        found = _observations[site] = Observation(site)
    return found
