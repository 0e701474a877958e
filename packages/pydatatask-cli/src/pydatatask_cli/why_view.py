"""How ``why`` looks."""

from __future__ import annotations

from collections.abc import Iterator

from .asking_view import crowd_lines, headline, since, standing_line
from .judge import Condition, Verdict
from .why import Group, Groups

__all__ = ["group_lines", "verdict_lines"]

_MARKS = {True: "yes", False: "NO", None: "?"}


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Say whether a job may start, and how each condition stands."""
    standing = verdict.standing
    yield f"{verdict.task} {verdict.job}: {_ready(verdict.ready) if standing is None else headline(standing)}"
    if standing is not None:
        yield f"  {standing_line(standing)}"
    for condition in verdict.conditions:
        yield f"  {_MARKS[condition.satisfied]:3}  {_told(condition)}"


def group_lines(groups: Groups) -> Iterator[str]:
    """Say how many jobs are kept from starting by what."""
    for group in groups.groups:
        ready = "ready, as far as their stores go" if groups.crowds and group.ready else _ready(group.ready)
        yield f"{group.jobs:,} {'job' if group.jobs == 1 else 'jobs'}: {'; '.join(group.causes) or ready}"
        yield f"  for example {_examples(group)}"
        for remedy in group.remedies:
            yield f"  {remedy}"
    if groups.crowds:
        yield ""
        yield "What the controller does with them:"
        yield from crowd_lines(groups.crowds)


def _ready(ready: bool | None) -> str:
    return {True: "ready to start", False: "not ready", None: "cannot be told"}[ready]


def _told(condition: Condition) -> str:
    told = f"{condition.cause}{',' if condition.since else ''}{since(condition.since)}"
    return f"{told} ({condition.remedy})" if condition.remedy else told


def _examples(group: Group) -> str:
    more = ", ..." if group.jobs > len(group.examples) else ""
    return ", ".join(group.examples) + more
