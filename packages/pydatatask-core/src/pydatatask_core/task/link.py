"""What a repository means to a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from ..repository.protocols import Repository

__all__ = ["Link"]


@frozen(kw_only=True)
class Link:
    """A repository and its relationship to a task."""

    repo: Repository
    is_input: bool = False
    """The task reads it."""
    is_output: bool = False
    """The task writes it."""
    is_status: bool = False
    """It holds what became of the task's runs."""
    inhibits_start: bool = False
    """Jobs in it may not start."""
    required_for_start: bool = False
    """Only jobs in it may start."""
    inhibits_output: bool = False
    """It becomes ``inhibits_start`` in tasks that this task is plugged into."""
    required_for_output: bool = False
    """It becomes ``required_for_start`` in tasks that this task is plugged into."""
    accepts: Callable[[str], Awaitable[bool]] | None = None
    """Asked last about a job that may start otherwise: did the upstream task succeed on it?"""
