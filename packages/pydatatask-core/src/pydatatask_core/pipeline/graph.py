"""Tasks and repositories as a graph: who feeds whom. Pure; built from links alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import field, frozen

from ..repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Related
from ..repository.protocols import Repository
from ..task.base import Task
from ..task.link import Link

__all__ = ["Edge", "Graph", "RepositoryNode"]


@frozen
class RepositoryNode:
    """A repository in the graph. Two objects of one location are one node."""

    location: str
    repo: Repository = field(eq=False)
    names: tuple[str, ...] = field(eq=False)
    """The ``task.link`` names that lead to it."""


@frozen
class Edge:
    """One link: from a repository to a task if the task takes from it, from the task to the repository otherwise."""

    task: str
    link_name: str
    link: Link = field(eq=False)
    location: str

    @property
    def into_task(self) -> bool:
        """Whether what is in the repository decides if the task starts, or is read by it."""
        link = self.link
        if link.is_output or link.is_status:
            return False
        return link.is_input or link.required_for_start or link.inhibits_start

    @property
    def out_of_task(self) -> bool:
        """Whether the task fills the repository."""
        return self.link.is_output or self.link.is_status


class Graph:
    """The tasks and repositories of a pipeline, and the links between them."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.edges: list[Edge] = []
        repos: dict[str, tuple[Repository, list[str]]] = {}
        for task in self.tasks.values():
            for name, link in task.links.items():
                location = link.repo.location
                self.edges.append(Edge(task.name, name, link, location))
                repos.setdefault(location, (link.repo, []))[1].append(f"{task.name}.{name}")
        self.repositories = {
            location: RepositoryNode(location, repo, tuple(names)) for location, (repo, names) in repos.items()
        }

    def tasks_reading(self, location: str) -> list[str]:
        """Give the tasks that take jobs from a repository, directly or through a combinator over it."""
        return sorted({edge.task for edge in self.edges if edge.into_task and location in self._stands_on(edge)})

    def outputs_of(self, task: str) -> list[Edge]:
        """Give the links by which a task fills repositories."""
        return [edge for edge in self.edges if edge.task == task and edge.out_of_task]

    def downstream(self, location: str) -> list[Edge]:
        """Give every link that may hold what was made from a repository's jobs, the farthest first."""
        order: dict[str, Edge] = {}
        self._walk(location, order, set())
        return list(order.values())

    def _walk(self, location: str, order: dict[str, Edge], visited: set[str]) -> None:
        if location in visited:
            return
        visited.add(location)
        for task in self.tasks_reading(location):
            for edge in self.outputs_of(task):
                self._walk(edge.location, order, visited)
                order.setdefault(edge.location, edge)

    def topological(self) -> list[str]:
        """Give the tasks, upstream ones first; tasks of a cycle in the order in which they were given."""
        upstream = {name: set(self._upstream(name)) - {name} for name in self.tasks}
        ordered: list[str] = []
        rest = list(self.tasks)
        while rest:
            free = next((name for name in rest if not upstream[name].intersection(rest)), rest[0])
            ordered.append(free)
            rest.remove(free)
        return ordered

    def depth(self) -> int:
        """Give the number of tasks on the longest way through the pipeline, cycles left out."""
        depths: dict[str, int] = {}
        for name in self.topological():
            depths[name] = 1 + max((depths.get(other, 0) for other in self._upstream(name)), default=0)
        return max(depths.values(), default=0)

    def _upstream(self, task: str) -> Iterator[str]:
        taken = {
            place for edge in self.edges if edge.task == task and edge.into_task for place in self._stands_on(edge)
        }
        for edge in self.edges:
            if edge.out_of_task and edge.location in taken:
                yield edge.task

    def _stands_on(self, edge: Edge) -> frozenset[str]:
        return frozenset((edge.location, *locations(edge.link.repo.expression)))


def locations(expression: KeyExpression) -> Sequence[str]:
    """Give the locations of the stores whose keys an expression is made of; translators are left out."""
    match expression:
        case Leaf():
            return (expression.location,)
        case And(children) | Or(children):
            return [place for child in children for place in locations(child)]
        case Minus(source, _):
            return locations(source)
        case Filtered(base, _) | Related(base, _):
            return locations(base)
