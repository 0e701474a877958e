"""Why a task starts a job or does not: what ``why`` shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from attrs import asdict, evolve, field, frozen
from pydatatask_core.job import check_job
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.pipeline.standing import Crowd
from pydatatask_core.repository.combining import keys_of
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.repository.together import together
from pydatatask_core.task.base import Task
from typing_extensions import override

from .asking import Asked, ask_controller, standing_by_stores
from .exits import lines_of
from .judge import Condition, Judge, Keys, Verdict
from .names import NamedLink, links_in_order
from .records import AT_ONCE

__all__ = ["Group", "Groups", "explain", "explain_all"]


@frozen
class Group:
    """Jobs that do not start for the same reasons, or that may start."""

    ready: bool | None
    causes: tuple[str, ...]
    remedies: tuple[str, ...]
    jobs: int
    examples: tuple[str, ...]


@frozen
class Groups:
    """All jobs of a task's inputs, by what becomes of them."""

    task: str
    groups: tuple[Group, ...]
    asked: Asked = field(factory=Asked, eq=False)
    """What came of asking the controller."""
    errors: Mapping[str, Exception] = field(factory=dict, eq=False)
    """Why repositories cannot be asked, by location. Jobs that only they hold are in no group."""

    def data(self) -> dict[str, Any]:
        """Give the groups for a JSON document."""
        errors = {place: "; ".join(lines_of(error)) for place, error in self.errors.items()}
        return {
            "task": self.task,
            "groups": [asdict(group) for group in self.groups],
            "controller": self.asked.data(),
            "standings": [crowd.data() for crowd in self.crowds],
            "errors": errors,
        }

    @property
    def crowds(self) -> tuple[Crowd, ...]:
        """What the controller says of the task's jobs."""
        return () if self.asked.told is None else self.asked.told.crowds.get(self.task, ())


class _Asked(Keys):
    """Asks the repository each time."""

    @override
    async def holds(self, repo: Repository, job: str) -> bool:
        return await repo.contains(job)


class _Listed(Keys):
    """Knows from one listing of each repository."""

    def __init__(self, held: Mapping[str, Set[str] | Exception]) -> None:
        self.held = held

    @override
    async def holds(self, repo: Repository, job: str) -> bool:
        held = self.held[repo.location]
        if isinstance(held, Exception):
            raise held
        return job in held


async def explain(pipeline: Pipeline, task: Task, job: str) -> Verdict:
    """Say of each of a task's conditions how it stands for a job. One that cannot be told does not hide the others.

    :raises JobIdError: if it is no valid job id.
    """
    verdict = await Judge(pipeline.graph, task, _Asked(), details=True).verdict(check_job(job))
    asked = await ask_controller(pipeline, task.name, job)
    standing = asked.told.standings.get(task.name) if asked.told is not None else None
    errors = verdict.errors
    if standing is None and asked.told is None and verdict.ready:
        try:
            standing = await standing_by_stores(task, job)
        except Exception as error:  # noqa: BLE001  # said, with the rest
            errors = (*errors, error)
    return evolve(verdict, standing=standing, asked=asked, errors=errors)


async def explain_all(pipeline: Pipeline, task: Task, examples: int = 3) -> Groups:
    """Group the jobs of a task's inputs by what keeps them from starting. Lists each repository once.

    One that cannot be asked does not hide the others.
    """
    conditional = [link for link in links_in_order(task, True) if _decides(link)]
    repos = {link.repo.location: link.repo for link in conditional}
    own = task.ready if task.has_own_rule else None
    if own is not None:
        repos[own.location] = own
    held = dict(zip(repos, await together(_keys_or_error, list(repos.values()), AT_ONCE), strict=True))
    sources = [link.repo for link in conditional if link.link.required_for_start or link.link.is_input]
    holding = (held[repo.location] for repo in [*sources, *([own] if own is not None else [])])
    jobs = set[str]().union(*(keys for keys in holding if not isinstance(keys, Exception)))
    judge = Judge(pipeline.graph, task, _Listed(held), details=False)
    verdicts = await together(judge.verdict, sorted(jobs), AT_ONCE)
    errors = {place: keys for place, keys in held.items() if isinstance(keys, Exception)}
    asked = await ask_controller(pipeline, task.name)
    return Groups(task.name, tuple(_grouped(verdicts, examples)), asked, errors)


async def _keys_or_error(repo: Repository) -> Set[str] | Exception:
    try:
        return await keys_of(repo)
    except Exception as error:  # noqa: BLE001  # shown; the others are listed all the same
        return error


def _decides(link: NamedLink) -> bool:
    return link.link.is_input or link.link.required_for_start or link.link.inhibits_start


def _grouped(verdicts: Iterable[Verdict], examples: int) -> list[Group]:
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(tuple(one.cause for one in _obstacles(verdict)), []).append(verdict)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        Group(
            alike[0].ready,
            causes,
            tuple(dict.fromkeys(one.remedy for one in _obstacles(alike[0]) if one.remedy)),
            len(alike),
            tuple(verdict.job for verdict in alike[:examples]),
        )
        for causes, alike in ordered
    ]


def _obstacles(verdict: Verdict) -> list[Condition]:
    """What stands in the way, failures of other tasks first: the rest may follow from them."""
    found = [condition for condition in verdict.conditions if condition.satisfied is not True]
    return sorted(found, key=lambda condition: condition.rule != "success")
