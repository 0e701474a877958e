"""What every task has: a name, links, and the rule that says which jobs are ready."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, TypedDict

from attrs import define, frozen
from typing_extensions import Unpack, override

from ..errors import ConfigurationError, MissingJobError, StoreUnavailableError
from ..job import is_valid_name
from ..pipeline.quota import ResourceManager, Resources
from ..repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingRepository,
    RelatedItemRepository,
)
from ..repository.expression import Filtered
from ..repository.protocols import MetadataRepository, Repository
from .link import Link
from .patience import store_later
from .policy import Retries, Seconds, seconds
from .record import NextAttempt, RunRecord, has_succeeded

__all__ = [
    "Again",
    "Dropped",
    "Ended",
    "Left",
    "PolicyOptions",
    "RunOptions",
    "RunTask",
    "Success",
    "Task",
    "success_filter",
]


class Task(ABC):
    """One phase of computation, run once per job.

    A user's own task is a subclass with :meth:`launch` and :meth:`update`, which the controller calls about once a
    second while anything of it is live.
    """

    def __init__(self, name: str, ready: Repository | None = None, disabled: bool = False) -> None:
        """:param ready: holds the jobs to start, instead of the rule that follows from the links.
        :param disabled: start no jobs.
        :raises ConfigurationError: for a name that is none.
        """
        if not is_valid_name(name):
            raise ConfigurationError(
                f"{name!r} is no valid task name. Use 1 to 63 letters, digits, '_' and '-', both ends alphanumeric."
            )
        self.name = name
        self.disabled = disabled
        self.failure_ok = False
        self.max_concurrent: int | None = None
        self.links: dict[str, Link] = {}
        self._ready = ready

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def link(
        self,
        name: str,
        repo: Repository,
        is_input: bool = False,
        is_output: bool = False,
        is_status: bool = False,
        inhibits_start: bool = False,
        required_for_start: bool | None = None,
        inhibits_output: bool = False,
        required_for_output: bool | None = None,
    ) -> None:
        """Say what a repository means to this task; see :class:`Link`. A link of that name is replaced.

        ``required_for_start`` follows ``is_input`` and ``required_for_output`` follows ``is_output`` unless given.

        :raises ConfigurationError: if the name is no Python identifier, or ``repo`` is no repository.
        """
        self._check_link(name, repo)
        self.links[name] = Link(
            repo=repo,
            is_input=is_input,
            is_output=is_output,
            is_status=is_status,
            inhibits_start=inhibits_start,
            required_for_start=is_input if required_for_start is None else required_for_start,
            inhibits_output=inhibits_output,
            required_for_output=is_output if required_for_output is None else required_for_output,
        )

    def plug(
        self,
        output: Task,
        output_links: Iterable[str] | None = None,
        meta: bool = True,
        translator: Repository | None = None,
        translate_allow_deletes: bool = False,
        translate_prefetch_lookup: bool = True,
    ) -> None:
        """Make the outputs of the task ``output`` inputs of this one, and start only where it succeeded.

        :param output_links: the names of the output links to take; all of them if not given.
        :param meta: take over what inhibits and what is required, and with it the condition of success.
        :param translator: its info on a job of this task is the job of ``output`` that belongs to it.
        """
        names = None if output_links is None else frozenset(output_links)
        for name, link in output.links.items():
            is_input = link.is_output and (names is None or name in names)
            required = link.required_for_output and meta
            inhibits = link.inhibits_output and meta
            if not (is_input or required or inhibits):
                continue
            repo = link.repo
            if translator is not None:
                repo = RelatedItemRepository(repo, translator, translate_allow_deletes, translate_prefetch_lookup)
            own_name = name if link.is_output else f"{output.name.replace('-', '_')}_{name}"
            self._check_link(own_name, repo)
            gated = required and link.is_status and not output.failure_ok and isinstance(link.repo, MetadataRepository)
            self.links[own_name] = Link(
                repo=repo,
                is_input=is_input,
                required_for_start=required,
                inhibits_start=inhibits,
                accepts=Success(repo) if gated else None,
            )

    def _check_link(self, name: str, repo: Repository) -> None:
        if not name.isidentifier():
            raise ConfigurationError(f"Task {self.name!r}: the link name {name!r} is no Python identifier.")
        if not isinstance(repo, Repository):
            raise ConfigurationError(f"Task {self.name!r}: link {name!r} is to {repo!r}, which is no Repository.")

    @property
    def input(self) -> Mapping[str, Repository]:
        """The repositories that the task reads."""
        return self._linked(lambda link: link.is_input)

    @property
    def output(self) -> Mapping[str, Repository]:
        """The repositories that the task writes."""
        return self._linked(lambda link: link.is_output)

    @property
    def status(self) -> Mapping[str, Repository]:
        """The repositories that tell what became of the task's runs."""
        return self._linked(lambda link: link.is_status)

    @property
    def inhibits_start(self) -> Mapping[str, Repository]:
        """The repositories whose jobs may not start."""
        return self._linked(lambda link: link.inhibits_start)

    @property
    def required_for_start(self) -> Mapping[str, Repository]:
        """The repositories that a job must be in to start."""
        return self._linked(lambda link: link.required_for_start)

    @property
    def inhibits_output(self) -> Mapping[str, Repository]:
        """The repositories that inhibit the tasks this one is plugged into."""
        return self._linked(lambda link: link.inhibits_output)

    @property
    def required_for_output(self) -> Mapping[str, Repository]:
        """The repositories that a job must be in to start in the tasks this one is plugged into."""
        return self._linked(lambda link: link.required_for_output)

    def _linked(self, chosen: Callable[[Link], bool]) -> dict[str, Repository]:
        return {name: link.repo for name, link in self.links.items() if chosen(link)}

    @property
    def ready(self) -> Repository:
        """The jobs that may start: in every required repository, succeeded upstream, and in no inhibiting one."""
        if self._ready is not None:
            return self._ready
        required = {
            name: link.repo if link.accepts is None else link.repo.map(_unchanged, link.accepts)
            for name, link in self.links.items()
            if link.required_for_start
        }
        source = AggregateAndRepository(**required)
        inhibits = self.inhibits_start
        return BlockingRepository(source, AggregateOrRepository(**inhibits)) if inhibits else source

    @property
    def has_own_rule(self) -> bool:
        """Whether the ready jobs were given, and do not follow from the links."""
        return self._ready is not None

    @property
    def resources(self) -> frozenset[object]:
        """The session resources that the task's links use."""
        return frozenset[object]().union(*(link.repo.resources for link in self.links.values()))

    def validate(self) -> None:
        """Check that the task can work as it was made. Called when a pipeline opens.

        :raises ConfigurationError: naming the task and the fix.
        """
        if self._ready is not None or self.disabled:
            return
        if not self.required_for_start:
            raise ConfigurationError(
                f"Nothing can start task {self.name!r}: it has no link that is required for start. "
                f"Link an input, for example {self.name}.link('name', repository, is_input=True)."
            )
        if not any(name != "live" for name in self.inhibits_start):
            raise ConfigurationError(
                f"Task {self.name!r} would start for ever: nothing inhibits the start of a job that ended. "
                f"Link the repository that it fills with inhibits_start=True."
            )

    @abstractmethod
    async def launch(self, job: str) -> None:
        """Start the task on a job. Called once per ready job."""

    @abstractmethod
    async def update(self) -> bool:
        """Look after what is live, and tell whether anything is."""


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

    def cost(self, job: str) -> Resources:
        """Give what a run on a job needs of the quota."""
        return self.job_resources

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
            await done.dump(job, data)
        except StoreUnavailableError as error:
            what = f"{self.name} ended job {job}, but its record cannot be stored"
            await store_later(partial(done.dump, job, data), what, error)
        except Exception:
            if self.expect is not None:
                self.expect(job, None)
            raise

    @override
    async def launch(self, job: str) -> None:
        """Run one attempt on a job and wait for it, whether the job is ready or not."""
        await self.run(job)

    @override
    async def update(self) -> bool:
        return False


def success_filter(done: Repository) -> Filtered:
    """Give the expression that tasks plugged into one with this done repository wait for."""
    return Filtered(done.expression, Success(done))


async def _unchanged(info: Any) -> Any:
    return info


@frozen
class Success:
    """Asks a done repository whether a job succeeded. Two that ask one repository are equal."""

    repo: Repository

    async def __call__(self, job: str) -> bool:
        """Tell whether the job's record says success. A job without a record did not succeed."""
        try:
            return has_succeeded(await self.repo.info(job))
        except MissingJobError:
            return False
