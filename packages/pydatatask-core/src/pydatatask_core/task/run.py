"""Tasks whose runs the controller follows: what may be said of runs, and how they end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from functools import partial
from typing import TypedDict

from attrs import define
from typing_extensions import Unpack, override

from ..errors import ConfigurationError, StoreUnavailableError
from ..pipeline.quota import ResourceManager, Resources
from ..repository.protocols import MetadataRepository, Repository
from .base import Task
from .patience import store_later
from .policy import Retries, Seconds, seconds
from .record import NextAttempt, RunRecord

__all__ = ["Again", "Dropped", "Ended", "Left", "PolicyOptions", "RunOptions", "RunTask", "cancelled_from_outside"]


def _always() -> bool:
    return True


def _is_current_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


cancelled_from_outside: ContextVar[Callable[[], bool]] = ContextVar(
    "cancelled_from_outside", default=_is_current_task_cancelled
)
"""Tells whether the current run is being cancelled. A function may cancel the asyncio task that it is called in, so
whoever makes runs says whether it was him."""


@define
class Ended:
    """A run ended and its record was published."""

    record: RunRecord


@define
class Again:
    """An attempt failed and is to be followed by another. No done record was published."""

    record: RunRecord
    delay: float
    """Seconds to wait before the next attempt."""


@define
class Dropped:
    """A run was taken back and leaves no record: the job is as if it had not been started."""

    delay: float = 0.0
    """Seconds before the job may start again."""


@define
class Left:
    """A run goes on without this controller. It stays live, and keeps its share of the quota."""


class PolicyOptions(TypedDict, total=False):
    """What may be said of the runs of every task class but users' own."""

    disabled: bool
    """Start no jobs."""
    timeout: Seconds | None
    """The longest time one attempt may take."""
    retries: int | Retries
    """How often a failed attempt is followed by another one, or a :class:`Retries`."""
    failure_ok: bool
    """Let tasks that this one is plugged into start even where it failed."""
    max_concurrent: int | None
    """The most jobs at a time."""
    priority: int | Callable[[str], int]
    """Jobs of a higher priority start first; a number for all jobs, or a function of the job."""


class RunOptions(PolicyOptions, total=False):
    """The same, and what quota runs draw on, for classes that do not take it by position."""

    resource_manager: ResourceManager | None
    """The quota that runs draw on."""
    job_resources: Resources
    """What one run needs of the quota."""
    window: Seconds
    """The time in which the quota counts launches. A minute unless said otherwise."""


class RunTask(Task):
    """A task whose run the controller follows to its end, with a done record and a policy for failures."""

    def __init__(
        self,
        name: str,
        done: MetadataRepository | None,
        ready: Repository | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """:param done: gets one record per job that ended.
        :param options: see :class:`RunOptions`.
        :raises ConfigurationError: for a limit that allows nothing.
        """
        super().__init__(name, ready, options.get("disabled", False))
        retries = options.get("retries", 0)
        self.done = done
        self.timeout = seconds(options.get("timeout"))
        self.retries = retries if isinstance(retries, Retries) else Retries(retries)
        self.failure_ok = options.get("failure_ok", False)
        self.max_concurrent = options.get("max_concurrent")
        self.priority = options.get("priority", 0)
        self.resource_manager = options.get("resource_manager")
        self.job_resources = options.get("job_resources", Resources())
        self.window = seconds(options.get("window", 60.0)) or 0.0
        self.synchronous = False
        """Whether runs happen in this process where they can; see :meth:`Pipeline.settings`."""
        self.may_begin: Callable[[], bool] = _always
        """Asked before each run, from any thread; see :meth:`PipelineLock.is_held`."""
        self.leaving = False
        """Whether runs on other sites are to go on without this controller, which does not wait for their ends."""
        self.metadata = True
        """Whether done records are published; see :meth:`Pipeline.settings`."""
        self.expect: Callable[[str, bool | None], None] | None = None
        """Told of each record that is about to be published whether it says success, and None if that failed."""
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigurationError(f"Task {name!r}: the timeout must be longer than nothing, not {self.timeout!r} s.")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise ConfigurationError(f"Task {name!r}: max_concurrent must be at least 1, not {self.max_concurrent!r}.")
        if done is not None:
            self.link("done", done, is_status=True, inhibits_start=True, required_for_output=True)

    @abstractmethod
    async def run(self, job: str) -> Ended | Again | Dropped | Left:
        """Run one attempt on a job to its end, and publish its done record unless it is to be tried again.

        A run that an earlier controller left behind is adopted. A cancellation leaves no record.
        """

    @property
    def elsewhere(self) -> bool:
        """Whether runs write to repositories from other processes, so that nobody announces it here."""
        return False

    def cost(self, job: str) -> Resources | None:
        """Give what a run on a job needs of the quota; None if that is only known to :meth:`ask_cost`."""
        return self.job_resources

    async def ask_cost(self, job: str) -> Resources:
        """Find out what a run on a job needs of the quota.

        :raises PydatataskError: if that cannot be told.
        """
        return self.cost(job) or Resources()

    def priority_of(self, job: str) -> int:
        """Give a job's priority."""
        return self.priority(job) if callable(self.priority) else self.priority

    async def live_jobs(self) -> Collection[str]:
        """Give the jobs that an earlier controller left running, to be adopted by :meth:`run`.

        Called before the controller starts anything of the task, and again if the site could not be asked.

        :raises SiteUnavailableError: if the site cannot be asked now.
        """
        return ()

    async def released(self) -> None:
        """The controller has ended. Called whether :meth:`live_jobs` was called or not, and however it ended."""

    async def next_attempts(self) -> Mapping[str, NextAttempt]:
        """Give the jobs whose next attempt an earlier controller planned, and when."""
        return {}

    def attempt_of(self, job: str) -> int | None:
        """Give the number of a live run's attempt; None if it is not known."""
        return None

    def waits_for(self, job: str) -> str | None:
        """Give why a live run does not begin, in the words of its site; None if nothing is known to keep it."""
        return None

    def stop(self) -> None:
        """The controller starts no more jobs: take back what waits elsewhere and has not begun."""

    async def closed(self) -> None:
        """The pipeline is about to be closed. Called on the event loop that ran the task."""

    async def publish(self, job: str, record: RunRecord) -> None:
        """Publish a done record. While the store is unavailable, keep trying: the run has ended, and must not be lost.

        A cancellation leaves the record published or not.
        """
        done = self.done
        if done is None or not self.metadata:
            return
        if self.expect is not None:
            self.expect(job, record.succeeded)
        data = record.data()
        try:
            try:
                await done.dump(job, data)
            except StoreUnavailableError as error:
                await self.publish_later(job, partial(done.dump, job, data), error)
        except Exception:
            if self.expect is not None:
                self.expect(job, None)
            raise

    async def publish_later(
        self, job: str, operation: Callable[[], Awaitable[None]], error: StoreUnavailableError
    ) -> None:
        """Publish a done record by an operation that failed with ``error``: here there is no other place for it."""
        await store_later(operation, f"{self.name} ended job {job}, but its record cannot be stored", error)

    @override
    async def launch(self, job: str) -> None:
        """Run one attempt on a job and wait for it, whether the job is ready or not."""
        await self.run(job)

    @override
    async def update(self) -> bool:
        return False
