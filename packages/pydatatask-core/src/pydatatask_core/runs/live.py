"""The live link of a task whose site is its only record of what is live: the runs themselves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from typing_extensions import override

from ..errors import SiteCredentialsError, SiteUnavailableError, StoreCredentialsError, StoreUnavailableError
from ..job import check_job
from ..repository.changes import Added, ChangeSource, KeyEvent, Removed
from ..repository.protocols import Repository
from .lifecycle import SiteTask
from .observation import Observation, observation_of
from .site import Phase, Sighting

__all__ = ["LiveRunRepository"]

_numbers = itertools.count(1)


class LiveRunRepository(Repository):
    """The jobs of a task that have a run which has not ended. Deleting one ends the run, and no record is left.

    While the pipeline runs this costs the site nothing: the one watch of the app tells. Otherwise the site is asked.
    ``info`` is a mapping with attempt, start time, host or node, what the run waits for, and what names it on its site.
    """

    def __init__(self, task: SiteTask[Any], resources: frozenset[object]) -> None:
        """:param task: whose runs they are. :param resources: the session resources that its site stands on."""
        self._task = task
        self._resources = resources
        self._location = f"live:{task.name}:{next(_numbers)}"

    @override
    def __repr__(self) -> str:
        return f"<live runs of {self._task.name}>"

    @property
    @override
    def location(self) -> str:
        return self._location

    @property
    @override
    def resources(self) -> frozenset[object]:
        return self._resources

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.WATCHED

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        observation = observation_of(self._task.site)
        with _as_store():
            await observation.open()
        queue: asyncio.Queue[KeyEvent] = asyncio.Queue()

        def tell(task: str, job: str) -> None:
            if task == self._task.name:
                queue.put_nowait(Added(job) if _is_live(observation.latest(task, job)) else Removed(job))

        async def events() -> AsyncIterator[KeyEvent]:
            while True:
                yield await queue.get()

        observation.listeners.add(tell)
        try:
            yield events()
        finally:
            observation.listeners.discard(tell)
            await observation.close()

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for job in await self._live():
            yield job

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        return await self._latest(job) is not None

    @override
    async def info(self, job: str, /) -> Any:
        """Give what is known of the job's run; an empty mapping if none is live."""
        check_job(job)
        sighting = await self._latest(job)
        return {} if sighting is None else live_record(sighting)

    @override
    async def info_all(self) -> dict[str, Any]:
        return {job: live_record(sighting) for job, sighting in (await self._live()).items()}

    @override
    async def delete(self, job: str, /) -> None:
        """End the job's run. No done record is made, so the job may start again."""
        check_job(job)
        with _as_store():
            await self._task.end(job, "dropped")

    async def _live(self) -> dict[str, Sighting]:
        observation = self._observation()
        if observation is not None:
            found = [observation.latest(self._task.name, job) for job in observation.jobs(self._task.name)]
            return {seen.run.job: seen for seen in found if seen is not None and _is_live(seen)}
        with _as_store():
            seen = await self._task.site.look_all(self._task.name)
        latest = {one.run.job: one for one in sorted(seen, key=lambda one: one.run.attempt)}
        return {job: one for job, one in latest.items() if _is_live(one)}

    async def _latest(self, job: str) -> Sighting | None:
        """Give the job's live run, if it has one."""
        observation = self._observation()
        if observation is not None:
            seen = observation.latest(self._task.name, job)
        else:
            with _as_store():
                attempts = await self._task.site.look(self._task.name, job)
            seen = attempts[-1] if attempts else None
        return seen if _is_live(seen) else None

    def _observation(self) -> Observation | None:
        """Give what the one watch has told, if it is going on."""
        observation = observation_of(self._task.site)
        return observation if observation.is_complete else None


def live_record(sighting: Sighting) -> dict[str, Any]:
    """Give what people are told of a live run."""
    told = {
        "attempt": sighting.run.attempt,
        "start_time": sighting.start_time,
        "host": sighting.host,
        "node": sighting.node,
        "image": sighting.image,
        "waits_for": sighting.reason,
        **sighting.identity,
    }
    return {key: value for key, value in told.items() if value is not None}


def _is_live(sighting: Sighting | None) -> bool:
    return sighting is not None and sighting.phase is not Phase.ENDED


@contextmanager
def _as_store() -> Iterator[None]:
    """A site that cannot be asked is, for those who ask for live jobs, a store that cannot."""
    try:
        yield
    except SiteCredentialsError as error:
        raise StoreCredentialsError(str(error)) from error
    except SiteUnavailableError as error:
        raise StoreUnavailableError(str(error)) from error
