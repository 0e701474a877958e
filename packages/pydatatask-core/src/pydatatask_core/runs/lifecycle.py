"""The life cycle of a run outside the controller, the same on every site.

A run goes from claim to release in steps, each of which may be repeated, and each of which says at the site how far it
has come. So what to do next follows from what the site shows and from nothing else: the loop in :meth:`SiteTask.run`
does not know whether it made the run or found it. Reaping goes in this order: outputs, done record, live record,
release. A controller that dies between two of them leaves the rest to the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import cached_property, partial
from typing import Generic, Literal, TypeVar

from typing_extensions import Unpack, override

from ..clock import now
from ..errors import ConflictError, MissingJobError, SiteFullError, SiteUnavailableError, StoreUnavailableError
from ..repository.memory import InProcessMetadataRepository
from ..repository.protocols import BlobRepository, MetadataRepository, Repository
from ..streams import copy
from ..task.record import RunRecord
from ..task.run import Again, Dropped, Ended, Left, RunOptions, RunTask
from .observation import Observation, observation_of
from .site import Cancellation, ExecutionSite, Phase, RunName, Sighting

__all__ = ["SiteTask"]

_log = logging.getLogger("pydatatask.task")

Spec = TypeVar("Spec")
T = TypeVar("T")

LIVE_LINKS = frozenset({"live", "pids"})
"""The links that say which jobs are live; a claim makes a job live, and must not inhibit its own start."""

INHIBITED = 1.0
"""Seconds to wait when a store denies a job that seemed ready: so long, at most, it takes to learn of it."""

UNHEARD = 30.0
"""Seconds after which a run that was started and has not been heard of is started again."""


class _LeavingError(Exception):
    """A step could not be done, and the controller is to leave."""


class SiteTask(RunTask, Generic[Spec]):
    """A task whose runs happen on an execution site and outlive the controller."""

    def __init__(
        self,
        name: str,
        done: MetadataRepository | None,
        ready: Repository | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """:param options: see :class:`RunOptions`."""
        super().__init__(name, done, ready, **options)
        self.grace = 10.0
        """Seconds that a run has to end by itself when it is to end."""
        self.forced = False
        """Whether jobs start even if something inhibits them."""
        self._observation: Observation | None = None
        self.followed: set[str] = set()
        """Jobs whose runs this controller follows now."""
        self._found: set[str] = set()
        """Jobs that an earlier controller left, and that were not looked into yet."""
        self._due: set[str] = set()
        """Jobs whose last attempt failed, and whose next one waits for its time."""

    @property
    @abstractmethod
    def site(self) -> ExecutionSite[Spec]:
        """The site, while the session is open."""

    @abstractmethod
    async def make(self, run: RunName) -> Spec:
        """Make what a run is claimed with.

        :raises TemplateError: naming the variable.
        """

    @abstractmethod
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        """Store what a run that ended has left. May be repeated, and then stores the same."""

    async def store_output(self, run: RunName, stream: Literal["stdout", "stderr"], repo: BlobRepository) -> None:
        """Store one stream of a run that ended, for :meth:`collect`. What there was not is stored empty."""
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(await self.site.open_output(run, stream))
            except MissingJobError:
                # It never began, or nothing is left of it. An earlier controller may have stored it.
                if await repo.contains(run.job):
                    return
                source = None
            sink = await stack.enter_async_context(await repo.open(run.job, "wb"))
            if source is not None:
                await copy(source, sink)

    def stored_output(self, stream: Literal["stdout", "stderr"]) -> BlobRepository | None:
        """Give the repository that gets what runs write to a stream, if one does."""
        return None

    async def appeared(self, sighting: Sighting) -> None:
        """A run is live: tell people, if there is a place for it. May be repeated."""

    async def disappeared(self, job: str) -> None:
        """No attempt at a job is live now."""

    async def attend(self, sighting: Sighting) -> float | None:
        """Look after a run that has not ended, whenever it changes. May be repeated.

        :returns: the seconds after which to do so again at the latest; None if only a change matters.
        """
        return UNHEARD if sighting.phase is Phase.CLAIMED else None

    @override
    def attempt_of(self, job: str) -> int | None:
        last = None if self._observation is None else self._observation.latest(self.name, job)
        return None if last is None else last.run.attempt

    @override
    def waits_for(self, job: str) -> str | None:
        last = None if self._observation is None else self._observation.latest(self.name, job)
        return last.reason if last is not None and last.phase in {Phase.CLAIMED, Phase.LEAVING} else None

    async def remembered(self) -> Collection[Sighting]:
        """Give the runs that were live by what was told people. Those whose claim is gone are looked for by it."""
        return ()

    @cached_property
    def owner(self) -> str:
        """What tells the runs of this pipeline from those of another with the same names: where its records go."""
        # Records in memory do not outlive the controller, and have no place by which the next one could know them.
        lasting = self.done is not None and not isinstance(self.done, InProcessMetadataRepository)
        place = self.done.location if self.done is not None and lasting else "memory"
        return hashlib.blake2b(place.encode(), digest_size=8).hexdigest()

    @property
    @override
    def elsewhere(self) -> bool:
        return True

    @override
    async def live_jobs(self) -> Collection[str]:
        observation = self._observation = observation_of(self.site)
        await observation.open()
        await self.site.sweep()
        for sighting in await self.remembered():
            if observation.latest(self.name, sighting.run.job) is None:
                observation.see(await self.site.vanished(sighting))
        mine = [job for job in observation.jobs(self.name) if self._is_mine(observation.latest(self.name, job))]
        self._found.update(mine)
        return mine

    def seen(self, job: str) -> Sighting | None:
        """Give what is known of the last attempt at a job, while the site is watched."""
        last = None if self._observation is None else self._observation.latest(self.name, job)
        return last if self._is_mine(last) else None

    def latest(self) -> list[Sighting]:
        """Give what is known of the last attempt at each job, while the site is watched."""
        observation = self._observation
        if observation is None:
            return []
        seen = (observation.latest(self.name, job) for job in observation.jobs(self.name))
        return [run for run in seen if run is not None and self._is_mine(run)]

    def _is_mine(self, sighting: Sighting | None) -> bool:
        return sighting is not None and sighting.owner == self.owner

    @override
    async def released(self) -> None:
        observation, self._observation = self._observation, None
        if observation is not None:
            await observation.close()

    @override
    def stop(self) -> None:
        self.leaving = True
        if self._observation is not None:
            for job in self._observation.jobs(self.name):
                self._observation.wake(self.name, job)

    @override
    async def run(self, job: str) -> Ended | Again | Dropped | Left:
        observation = self._observation
        if observation is None:
            raise SiteUnavailableError(f"Task {self.name} has not seen its site {self.site.host} yet.")
        self.followed.add(job)
        try:
            return await self._follow(observation, job)
        except _LeavingError:
            return Left()
        finally:
            self.followed.discard(job)

    async def _follow(self, observation: Observation, job: str) -> Ended | Again | Dropped | Left:
        """Do what the site shows is to be done next, until nothing is."""
        while True:
            last = observation.latest(self.name, job)
            if last is not None and last.owner != self.owner:
                raise self._conflict(job)
            if last is None or (last.phase is Phase.ENDED and job in self._due):
                if last is not None and await self._is_called_off(observation, last):
                    return await self._reap(observation, job)
                if not await self._claim(observation, job, 1 if last is None else last.run.attempt + 1):
                    return Dropped(delay=INHIBITED)
                continue
            if last.phase is Phase.ENDED:
                return await self._reap(observation, job)
            if last.phase is Phase.CLAIMED and not self.site.creating_starts:
                if not await self._start(observation, last):
                    return Dropped(delay=INHIBITED)
            elif last.phase is Phase.RUNNING:
                await self.persist("note that it runs", job, partial(self.appeared, last))
            if self.leaving:
                return Left()
            soonest = await self.persist("look after it", job, partial(self._look_after, observation, last))
            await observation.change(self.name, job, last, soonest)

    async def _look_after(self, observation: Observation, last: Sighting) -> float | None:
        # While the site was out of reach it may have gone on, and then there is something else to do.
        return await self.attend(last) if observation.latest(self.name, last.run.job) is last else None

    def _conflict(self, job: str) -> ConflictError:
        return ConflictError(
            f"Cannot run task {self.name} on job {job}: {self.site.host} has a run of that app, task and job that "
            f"another pipeline made (its done repository is another one). Give one of the two another app name."
        )

    async def _claim(self, observation: Observation, job: str, attempt: int) -> bool:
        """Claim a run, or find that it is claimed. False if the job may no longer start."""
        if self.site.creating_starts and await self._is_inhibited(job):
            return False
        run = RunName(self.name, job, attempt)
        spec = await self.make(run)
        try:
            claimed = await self.site.claim(run, self.owner, spec)
        except SiteFullError:
            raise
        except SiteUnavailableError:
            # Perhaps only the answer is lost. A claim that stands keeps its job from another start, so follow it.
            if not await self._find(observation, run):
                raise
        else:
            if claimed is not None:
                observation.see(claimed)
            elif not await self._find(observation, run):
                # Somebody was faster and released it in this moment, or what stands there is no run.
                _log.warning("%s, job %s: %s has something of its name that is no run.", self.name, job, self.site.host)
                return False
        self._due.discard(job)
        return True

    async def _is_called_off(self, observation: Observation, last: Sighting) -> bool:
        """Tell whether somebody wants no other attempt."""
        if not self.site.tells_what_is_asked:
            await self._find(observation, last.run)
        seen = observation.latest(self.name, last.run.job)
        return seen is not None and seen.run == last.run and seen.cancellation == "cancelled"

    async def _find(self, observation: Observation, run: RunName) -> bool:
        """See what the site has of a job, and tell whether that run is there."""
        job = run.job
        seen = await self.persist("see whether it is claimed", job, lambda: self.site.look(self.name, job))
        for sighting in seen:
            observation.see(sighting)
        return any(sighting.run == run for sighting in seen)

    async def _start(self, observation: Observation, claimed: Sighting) -> bool:
        """Ask once more whether the job may start, and start its run; or take the claim back."""
        job = claimed.run.job
        if await self.persist("ask whether it may start", job, partial(self._is_inhibited, job)):
            await self.persist("take it back", job, lambda: self.site.cancel(claimed, "dropped"))
            await self._let_go(observation, job)
            return False
        await self.persist("start it", job, lambda: self.site.start(claimed.run))
        return True

    async def _is_inhibited(self, job: str) -> bool:
        links = [link for name, link in self.links.items() if link.inhibits_start and name not in LIVE_LINKS]
        return not self.forced and any(await asyncio.gather(*(link.repo.contains(job) for link in links)))

    async def _reap(self, observation: Observation, job: str) -> Ended | Again | Dropped:
        attempts = observation.attempts(self.name, job)
        last = attempts[-1]
        found = job in self._found
        self._found.discard(job)
        if last.cancellation == "dropped" or (found and self.done is not None and await self.done.contains(job)):
            # Taken back; or a controller died between the record and the release.
            await self._let_go(observation, job)
            return Dropped()
        record = self._record(attempts)
        if last.cancellation == "cancelled" and not record.succeeded:
            # It failed by itself before it was ended, and whoever wanted that wants no other attempt.
            record.result = record.cause = "cancelled"
        delay = None if record.cause is None else self.retries.delay_after(record.cause, record.attempt)
        if delay is not None:
            self._due.add(job)
            await self.persist("note that it ended", job, lambda: self.disappeared(job))
            if found:
                delay = max(0.0, (record.end_time + timedelta(seconds=delay) - now()).total_seconds())
            return Again(record, delay)
        await self.persist("store its outputs", job, lambda: self.collect(last, record))
        await self.publish(job, record)
        await self._let_go(observation, job)
        return Ended(record)

    @override
    async def publish_later(
        self, job: str, operation: Callable[[], Awaitable[None]], error: StoreUnavailableError
    ) -> None:
        # The run is still at its site, where the next controller finds it.
        await self.persist("store its record", job, operation)

    async def _let_go(self, observation: Observation, job: str) -> None:
        await self.persist("note that it ended", job, lambda: self.disappeared(job))
        await self.persist("release it", job, lambda: self.site.release(self.name, job))
        observation.forget(self.name, job)
        self._due.discard(job)
        self._found.discard(job)

    async def end(self, job: str, how: Cancellation) -> bool:
        """Ask for the end of a job's live run, whoever follows it. The controller that does so then sees it end.

        A job whose last attempt failed, and which waits for the next one, can be ``cancelled``, too: the controller
        sees it when the time of the next one has come.

        :param how: ``cancelled`` has it recorded, ``dropped`` leaves no record.
        :returns: whether there was a run that had not ended, or a next attempt was waited for.
        """
        runs = [run for run in await self.site.look(self.name, job) if run.owner == self.owner]
        if not runs or (runs[-1].phase is Phase.ENDED and not (how == "cancelled" and self._is_retried(runs[-1]))):
            return False
        await self.site.cancel(runs[-1], how)
        return True

    def _is_retried(self, ended: Sighting) -> bool:
        return ended.cause is not None and self.retries.delay_after(ended.cause, ended.run.attempt) is not None

    async def persist(self, what: str, job: str, step: Callable[[], Awaitable[T]]) -> T:
        """Do a step of a run that exists, again and again while a store or the site is unavailable."""
        delay = 1.0
        while True:
            try:
                return await step()
            except (StoreUnavailableError, SiteUnavailableError) as error:
                _log.warning("%s, job %s: cannot %s yet; tried again in %.0f s: %s", self.name, job, what, delay, error)
            if self.leaving or self._observation is None:
                raise _LeavingError
            await self._observation.change(self.name, job, self._observation.latest(self.name, job), delay)
            delay = min(2 * delay, 60.0)

    def _record(self, attempts: Collection[Sighting]) -> RunRecord:
        records = [self.record_of(sighting) for sighting in attempts]
        last = records[-1]
        last.attempts = [record.data() for record in records[:-1]]
        return last

    def record_of(self, sighting: Sighting) -> RunRecord:
        """Give the record of one attempt that ended."""
        assert sighting.result is not None
        ended = sighting.end_time or now()
        return RunRecord(
            result=sighting.result,
            cause=sighting.cause,
            return_code=sighting.return_code,
            return_codes=sighting.return_codes,
            reason=sighting.reason,
            attempt=sighting.run.attempt,
            start_time=sighting.start_time or ended,
            end_time=ended,
            host=sighting.host,
            node=sighting.node,
            image=sighting.image,
        )
