"""What every task has: a name, links, and the rule that says which jobs are ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen
from typing_extensions import override

from ..errors import ConfigurationError, MissingJobError
from ..job import is_valid_name
from ..repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingRepository,
    RelatedItemRepository,
)
from ..repository.expression import Filtered
from ..repository.protocols import MetadataRepository, Repository
from .link import Link
from .record import has_succeeded

__all__ = ["Success", "Task", "success_filter"]


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
