"""How many jobs are ready and how many wait, by what a run's readiness knows: nothing is asked of any store."""

from __future__ import annotations

import time
from collections.abc import Mapping

from attrs import define, field, frozen
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.readiness import Readiness
from pydatatask_core.repository.expression import KeyExpression, Or
from pydatatask_core.task.base import Task

__all__ = ["Counter", "Counts"]

SHARE = 20
"""A count is made again only after so many times the time it took: it takes a pass over all jobs."""


@frozen
class Counts:
    """Jobs of one task."""

    ready: int = 0
    """May start, or have started."""
    waiting: int = 0
    """Are in some of the required repositories, and may not start: something is missing, or has failed."""


@define
class Counter:
    """Counts the jobs of each task, from time to time."""

    tasks: Mapping[str, Task]
    _found: Mapping[str, Counts] = field(factory=dict, init=False)
    _due: float = field(default=0.0, init=False)

    def recent(self, controller: Controller) -> Mapping[str, Counts]:
        """Give counts that may be a little old."""
        began = time.monotonic()
        if began >= self._due:
            self._found = self.now(controller)
            self._due = began + SHARE * (time.monotonic() - began)
        return self._found

    def now(self, controller: Controller) -> Mapping[str, Counts]:
        """Count."""
        readiness = controller.readiness
        waits = [_waiting(self.tasks[name]) for name in readiness.tasks]
        ready, waiting = [0] * len(waits), [0] * len(waits)
        for state, jobs in readiness.states().items():
            for number, rule in enumerate(waits):
                if state.ready >> number & 1:
                    ready[number] += jobs
                elif rule is not None and _holds(readiness, rule, state.mask):
                    waiting[number] += jobs
        return {name: Counts(ready[number], waiting[number]) for number, name in enumerate(readiness.tasks)}


@frozen
class _Rule:
    some: KeyExpression
    inhibits: KeyExpression


def _waiting(task: Task) -> _Rule | None:
    """Say which jobs wait that are not ready. None if what starts the task does not follow from its links."""
    required = tuple(repo.expression for repo in task.required_for_start.values())
    if task.has_own_rule or task.disabled or not required:
        return None
    return _Rule(Or(required), Or(tuple(repo.expression for repo in task.inhibits_start.values())))


def _holds(readiness: Readiness, rule: _Rule, mask: int) -> bool:
    truth = readiness.compiled.truth
    return truth(rule.some, mask) is True and truth(rule.inhibits, mask) is False
