"""How each condition of a task stands for one job, and what would change it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from attrs import asdict, evolve, field, frozen
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.pipeline.graph import Graph
from pydatatask_core.pipeline.standing import Standing
from pydatatask_core.repository.expression import Related, leaves
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.task.base import Task

from .asking import Asked
from .exits import lines_of
from .names import NamedLink, links_in_order
from .records import result_of
from .trace import Run, run_of

__all__ = ["Condition", "Judge", "Keys", "Verdict"]

Rule = Literal["enabled", "required", "inhibits", "success", "ready"]

JOB = "{job}"
"""Stands in remedies for the job. No name can hold it."""


@frozen
class Condition:
    """One thing that must hold for a job to start."""

    rule: Rule
    link: str | None
    satisfied: bool | None
    """None if it cannot be told."""
    cause: str
    """How it stands, in words that do not name the job."""
    remedy: str | None = None
    """What would change it."""
    since: str | None = None
    """Since when it stands so, if that is known: ISO 8601, UTC."""


@frozen
class Verdict:
    """Whether a task may start a job, and why."""

    task: str
    job: str
    conditions: tuple[Condition, ...]
    errors: tuple[Exception, ...] = field(default=(), eq=False)
    """What went wrong while conditions were looked at."""
    standing: Standing | None = None
    """What the job does or waits for, beyond its conditions."""
    asked: Asked = field(factory=Asked, eq=False)
    """What came of asking the controller."""

    @property
    def ready(self) -> bool | None:
        """Whether it may start; None if that cannot be told."""
        if any(condition.satisfied is False for condition in self.conditions):
            return False
        return None if any(condition.satisfied is None for condition in self.conditions) else True

    def data(self) -> dict[str, Any]:
        """Give the verdict for a JSON document."""
        conditions = [asdict(condition) for condition in self.conditions]
        return {
            "task": self.task,
            "job": self.job,
            "ready": self.ready,
            "conditions": conditions,
            "standing": self.standing and self.standing.data(),
            "controller": self.asked.data(),
        }


class Keys(ABC):
    """Knows which repository holds which job."""

    @abstractmethod
    async def holds(self, repo: Repository, job: str) -> bool:
        """Tell whether the repository holds the job."""


class Judge:
    """Looks at the conditions of one task."""

    def __init__(self, graph: Graph, task: Task, keys: Keys, *, details: bool) -> None:
        """:param details: ask for more than decides: how the job ended, what it translates to. One request each."""
        self._graph = graph
        self._task = task
        self._keys = keys
        self._details = details
        self._links = links_in_order(task, True)

    async def verdict(self, job: str) -> Verdict:
        """Say how each condition stands for a job. What cannot be told is said, and does not hide the others."""
        conditions: list[Condition] = []
        errors: list[Exception] = []
        if self._task.disabled:
            conditions.append(
                Condition("enabled", None, False, "the task is disabled", "make it without disabled=True")
            )
        if self._task.has_own_rule:
            conditions.append(await self._own_rule(job, errors))
        else:
            for link in self._links:
                if link.link.required_for_start:
                    conditions.append(await self._required(link, job, errors))
                if link.link.inhibits_start:
                    conditions.append(await self._inhibits(link, job, errors))
            for link in self._links:
                if link.link.required_for_start and link.link.accepts and self._is_worth_asking(link, conditions):
                    conditions.append(await self._success(link, job, errors))
        about = job if self._details else "JOB"
        return Verdict(self._task.name, job, tuple(_about(one, about) for one in conditions), tuple(errors))

    def _is_worth_asking(self, link: NamedLink, conditions: list[Condition]) -> bool:
        """A record is read if it is there and, where many are looked at, if the job has not ended already."""
        missing = (one.rule == "required" and one.link == link.name for one in conditions if not one.satisfied)
        ended = (one.rule == "inhibits" and not self._details for one in conditions if not one.satisfied)
        return not any(missing) and not any(ended)

    async def _own_rule(self, job: str, errors: list[Exception]) -> Condition:
        repo = self._task.ready
        try:
            held = await self._keys.holds(repo, job)
        except Exception as error:  # noqa: BLE001  # said, with the rest
            return _untold("ready", None, repr(repo), error, errors)
        if held:
            return Condition("ready", None, True, f"in the task's own ready repository {repo!r}")
        return Condition("ready", None, False, f"not in the task's own ready repository {repo!r}")

    async def _required(self, link: NamedLink, job: str, errors: list[Exception]) -> Condition:
        try:
            if await self._keys.holds(link.repo, job):
                return Condition("required", link.name, True, f"in {link.name}")
            cause, remedy = f"missing from {link.name}", self._how_to_fill(link)
            if self._details and isinstance(link.repo.expression, Related):
                cause, remedy = await self._explain_translation(link, link.repo.expression, job, remedy)
        except Exception as error:  # noqa: BLE001  # said, with the rest
            return _untold("required", link.name, link.name, error, errors)
        return Condition("required", link.name, False, cause, remedy)

    def _how_to_fill(self, link: NamedLink, job: str = JOB) -> str:
        places = {link.repo.location, *(leaf.location for leaf in leaves(link.repo.expression))}
        fillers = {edge.task for edge in self._graph.edges if edge.out_of_task and edge.location in places}
        fillers.discard(self._task.name)
        if fillers:
            return "; ".join(f"{name} fills it: see why {name} {job}" for name in sorted(fillers))
        return f"no task fills it: put the job there, as by inject {link.name} {job}"

    async def _explain_translation(self, link: NamedLink, related: Related, job: str, remedy: str) -> tuple[str, str]:
        target = await related.translation.translate(job)
        if target is None:
            return f"missing from {link.name}: its translator names no job for it", "give the translator a value for it"
        # What is missing is the other job, so that is what the remedy is about.
        return f"missing from {link.name}: it stands for {target}, which is not there", self._how_to_fill(link, target)

    async def _inhibits(self, link: NamedLink, job: str, errors: list[Exception]) -> Condition:
        ended: Run | None = None
        try:
            if not await self._keys.holds(link.repo, job):
                return Condition("inhibits", link.name, True, f"not in {link.name}")
            is_record = link.link.is_status and link.name == f"{self._task.name}.done"
            cause = f"ended already ({link.name})" if is_record else f"in {link.name}, which inhibits the start"
            if link.link.is_status and link.name == f"{self._task.name}.live":
                return Condition("inhibits", link.name, False, f"running ({link.name})", "wait until it has ended")
            if is_record and self._details:
                ended = await _run_on_record(link, job)
                cause = f"{cause}: {_outcome(ended)}"
        except Exception as error:  # noqa: BLE001  # said, with the rest
            return _untold("inhibits", link.name, link.name, error, errors)
        remedy = f"to have it done again: rm {link.name} {JOB}" if is_record else f"rm {link.name} {JOB}"
        return Condition("inhibits", link.name, False, cause, remedy, _end_of(ended))

    async def _success(self, link: NamedLink, job: str, errors: list[Exception]) -> Condition:
        accepts = link.link.accepts
        assert accepts is not None
        upstream, record = self._upstream(link)
        named: str | None = JOB
        try:
            if self._details and isinstance(link.repo.expression, Related):
                named = await link.repo.expression.translation.translate(job)
            ended = await _run_on_record(link, job) if self._details else None
            if await accepts(job):
                return Condition("success", link.name, True, f"{upstream} succeeded", since=_end_of(ended))
            cause = f"{upstream} failed: {result_of(await link.repo.info(job))}"
        except MalformedValueError as error:
            errors.append(error)
            cause = f"the record in {link.name} cannot be read"
            return Condition("success", link.name, None, cause, f"have it done again: rm {record} {named}")
        except Exception as error:  # noqa: BLE001  # said, with the rest
            return _untold("success", link.name, link.name, error, errors)
        remedy = f"have it done again: rm {record} {named}, then run"
        return Condition("success", link.name, False, cause, remedy, _end_of(ended))

    def _upstream(self, link: NamedLink) -> tuple[str, str]:
        """Name the task whose records these are, and the link by which it writes them."""
        places = {link.repo.location, *(leaf.location for leaf in leaves(link.repo.expression))}
        for edge in self._graph.edges:
            if edge.link.is_status and edge.location in places:
                return edge.task, f"{edge.task}.{edge.link_name}"
        return link.name, link.name


async def _run_on_record(link: NamedLink, job: str) -> Run | None:
    try:
        return run_of(await link.repo.info(job))
    except MalformedValueError:
        return None


def _outcome(run: Run | None) -> str:
    if run is None:
        return "its record cannot be read"
    return f"{run.result}, {run.exception}" if run.exception else run.result


def _end_of(run: Run | None) -> str | None:
    """Give when a run ended, if its record says so: since then its key is there."""
    return None if run is None or run.end_time is None else run.end_time.isoformat(timespec="milliseconds")


def _untold(rule: Rule, link: str | None, what: str, error: Exception, errors: list[Exception]) -> Condition:
    errors.append(error)
    return Condition(rule, link, None, f"{what} cannot be asked: {'; '.join(lines_of(error))}")


def _about(condition: Condition, job: str) -> Condition:
    return evolve(condition, remedy=condition.remedy and condition.remedy.replace(JOB, job))
