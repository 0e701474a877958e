"""What users call things: tasks by name, repositories as ``task.link``."""

from __future__ import annotations

from attrs import frozen
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.task.base import Task
from pydatatask_core.task.link import Link

from .errors import UnknownNameError, did_you_mean

__all__ = ["NamedLink", "find_link", "find_task", "links_in_order", "role_of"]


@frozen
class NamedLink:
    """A link, and the name that leads to it."""

    name: str
    task: Task
    link: Link

    @property
    def repo(self) -> Repository:
        """What the link is to."""
        return self.link.repo

    @property
    def role(self) -> str:
        """What the repository is to the task, in a word."""
        return role_of(self.link)


def role_of(link: Link) -> str:
    """Say in a word what a link's repository is to its task."""
    if link.is_input:
        return "input"
    if link.is_status:
        return "status"
    if link.is_output:
        return "output"
    return "other"


def find_task(pipeline: Pipeline, name: str) -> Task:
    """Give the task of that name.

    :raises UnknownNameError: if there is none. Suggests what may be meant.
    """
    task = pipeline.tasks.get(name)
    if task is None:
        raise UnknownNameError(f"There is no task {name!r}. {did_you_mean(name, pipeline.tasks)}")
    return task


def find_link(pipeline: Pipeline, name: str) -> NamedLink:
    """Give the link called ``task.link``.

    :raises UnknownNameError: if there is none. Suggests what may be meant.
    """
    task_name, dot, link_name = name.partition(".")
    task = pipeline.tasks.get(task_name)
    if task is not None and link_name in task.links:
        return NamedLink(name, task, task.links[link_name])
    names = [f"{task.name}.{link}" for task in pipeline.tasks.values() for link in task.links]
    if not dot:
        raise UnknownNameError(f"{name!r} names no repository: write task.link. {did_you_mean(name, names)}")
    if task is None:
        raise UnknownNameError(f"There is no task {task_name!r}, so no {name!r}. {did_you_mean(name, names)}")
    own = did_you_mean(link_name, task.links)
    raise UnknownNameError(f"Task {task_name!r} has no link {link_name!r}. {own}")


_ORDER = ("input", "status", "output", "other")


def links_in_order(task: Task, all_links: bool) -> list[NamedLink]:
    """Give a task's links: inputs, then status, then outputs, then, if wanted, those that are none of these."""
    named = [NamedLink(f"{task.name}.{name}", task, link) for name, link in task.links.items()]
    chosen = [link for link in named if all_links or link.role != "other"]
    return sorted(chosen, key=lambda link: _ORDER.index(link.role))
