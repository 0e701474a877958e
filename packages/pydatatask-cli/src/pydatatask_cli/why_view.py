"""How ``why`` looks."""

from __future__ import annotations

from collections.abc import Iterator

from .judge import Condition, Verdict
from .why import Group, Groups

__all__ = ["group_lines", "verdict_lines"]

_MARKS = {True: "yes", False: "NO", None: "?"}


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Say whether a job may start, and how each condition stands."""
    yield f"{verdict.task} {verdict.job}: {_ready(verdict.ready)}"
    for condition in verdict.conditions:
        yield f"  {_MARKS[condition.satisfied]:3}  {_told(condition)}"


def group_lines(groups: Groups) -> Iterator[str]:
    """Say how many jobs are kept from starting by what."""
    for group in groups.groups:
        yield f"{group.jobs:,} {'job' if group.jobs == 1 else 'jobs'}: {'; '.join(group.causes) or _ready(group.ready)}"
        yield f"  for example {_examples(group)}"
        for remedy in group.remedies:
            yield f"  {remedy}"


def _ready(ready: bool | None) -> str:
    return {True: "ready to start", False: "not ready", None: "cannot be told"}[ready]


def _told(condition: Condition) -> str:
    return f"{condition.cause} ({condition.remedy})" if condition.remedy else condition.cause


def _examples(group: Group) -> str:
    more = ", ..." if group.jobs > len(group.examples) else ""
    return ", ".join(group.examples) + more
