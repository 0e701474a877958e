"""What ``rm`` is about to delete, in which order, and the deleting itself.

Downstream of a repository is what tasks made from its jobs. There a job may go by another key, so job ids are
followed along the graph, and each repository is planned with the ids that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, field, frozen
from pydatatask_core.pipeline.graph import Edge, Graph
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.repository.combining import Combinator
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.repository.together import together

from .expression import matcher
from .lineage import behind, seen_from
from .names import find_link, find_task
from .records import AT_ONCE
from .trace import holding

__all__ = ["Removal", "delete", "is_glob", "plan", "targets_of"]


@frozen
class Removal:
    """Jobs to delete from one repository."""

    name: str
    """The ``task.link`` that leads there."""
    repo: Repository
    jobs: tuple[str, ...]


@define
class _Stop:
    """A repository on the way downstream, with the jobs that are to go."""

    name: str
    repo: Repository
    jobs: set[str] = field(factory=set)


def is_glob(text: str) -> bool:
    """Tell whether a job argument is a pattern."""
    return any(sign in text for sign in "*?[")


def targets_of(pipeline: Pipeline, name: str) -> dict[str, Repository]:
    """Give the repositories that a user names: ``task.link``, or a task for all that it fills.

    :raises UnknownNameError: if there is no such thing. Suggests what may be meant.
    """
    if "." in name:
        return {name: find_link(pipeline, name).repo}
    task = find_task(pipeline, name)
    return {
        f"{task.name}.{link_name}": link.repo
        for link_name, link in task.links.items()
        if link.is_output or link.is_status
    }


async def plan(
    pipeline: Pipeline, targets: dict[str, Repository], jobs: Iterable[str], downstream: bool
) -> list[Removal]:
    """Find what is there to delete: farthest downstream first, and what a task made before what says so.

    :param jobs: valid job ids, and patterns of them.
    :raises StoreUnavailableError: if a repository cannot be asked.
    """
    ids = [job for job in jobs if not is_glob(job)]
    patterns = [matcher(job) for job in jobs if is_glob(job)]
    stops: dict[str, _Stop] = {}
    for name, repo in targets.items():
        found = {*await _listed(repo, patterns), *ids}
        stops[repo.location] = _Stop(name, repo, found)
    if downstream:
        await _follow(pipeline.graph, stops)
    removals = []
    for stop in _ordered(pipeline.graph, stops, {repo.location for repo in targets.values()}):
        there = await holding(stop.repo, sorted(stop.jobs))
        if there:
            removals.append(Removal(stop.name, stop.repo, tuple(there)))
    return removals


async def delete(removal: Removal, told: Callable[[str], None]) -> list[str]:
    """Delete the jobs of a removal, and give those that are still there: some views do not allow it.

    :param told: called for each job that is gone.
    """

    async def delete_one(job: str) -> str | None:
        await removal.repo.delete(job)
        # Only views refuse without an error.
        if isinstance(removal.repo, Combinator) and await removal.repo.contains(job):
            return job
        told(job)
        return None

    return [job for job in await together(delete_one, removal.jobs, AT_ONCE) if job is not None]


async def _listed(repo: Repository, patterns: Sequence[Callable[[str], bool]]) -> list[str]:
    if not patterns:
        return []
    return [job async for page in repo.pages() for job in page if any(fits(job) for fits in patterns)]


async def _follow(graph: Graph, stops: dict[str, _Stop]) -> None:
    """Add what was made from the jobs, until nothing new comes up."""
    todo = [(stop.repo, set(stop.jobs)) for stop in stops.values()]
    while todo:
        repo, jobs = todo.pop()
        for place, gone in (await behind(repo.expression, jobs)).items():
            for edge in graph.edges:
                # What only inhibits a start is nothing that anything was made from.
                if edge.into_task and (edge.link.is_input or edge.link.required_for_start):
                    made = await seen_from(edge.link.repo.expression, place, gone)
                    todo += _add_outputs(graph.outputs_of(edge.task), made, stops)


def _add_outputs(outputs: Iterable[Edge], jobs: set[str], stops: dict[str, _Stop]) -> list[tuple[Repository, set[str]]]:
    """Plan jobs in the repositories that a task fills, and give what was not planned before."""
    added = []
    for edge in outputs:
        name = f"{edge.task}.{edge.link_name}"
        stop = stops.setdefault(edge.location, _Stop(name, edge.link.repo))
        fresh = jobs - stop.jobs
        if fresh:
            stop.jobs |= fresh
            added.append((stop.repo, fresh))
    return added


def _ordered(graph: Graph, stops: dict[str, _Stop], targets: set[str]) -> list[_Stop]:
    """Farthest downstream first, targets last. Of one task, outputs before status: what says that it ran goes last."""
    tasks = list(reversed(graph.topological()))
    places: dict[str, tuple[int, int]] = {}
    for edge in graph.edges:
        if edge.out_of_task:
            rank = (tasks.index(edge.task), int(edge.link.is_status))
            places[edge.location] = min(rank, places.get(edge.location, rank))
    last = (len(tasks), 0)
    return sorted(
        stops.values(), key=lambda stop: (stop.repo.location in targets, places.get(stop.repo.location, last))
    )
