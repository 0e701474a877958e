"""Kill points: a controller that dies by SIGKILL before or after the n-th step of what it does for runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from ..pipeline.pipeline import Pipeline
from ..runs.lifecycle import SiteTask

__all__ = ["FATAL_STEP", "run_to_step"]

FATAL_STEP = "PYDATATASK_FATAL_STEP"
"""The environment variable that numbers the step at which the process dies, from 1; 0 or nothing for none."""

_VERBS = ("claim", "start", "open_output", "release", "dump", "delete", "open")


class _Steps:
    """Counts: there is a step before and one after each operation."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._count = 0

    def take(self) -> None:
        self._count += 1
        if self._count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, thing: object, *verbs: str) -> None:
        """Count the calls of an object's verbs, as far as it has them."""
        for verb in verbs:
            if hasattr(thing, verb):
                setattr(thing, verb, self._counted(getattr(thing, verb), verb))

    def _counted(self, verb: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.take()
            result = await verb(*arguments, **options)
            if name == "open":
                # What is written is published by closing.
                self.watch(result, "close")
            self.take()
            return result

        return counted


async def run_to_step(pipeline: Pipeline, task: SiteTask[Any], *stores: object) -> None:
    """Run a pipeline to its end, or to the death of this process at the step that the environment names.

    Steps are the operations on the task's site, and on the stores that are given.
    """
    steps = _Steps(int(os.environ.get(FATAL_STEP, "0")))
    async with pipeline:
        for thing in (task.site, *stores):
            steps.watch(thing, *_VERBS)
        controller = await pipeline.run()
        problems = controller.problems()
    if problems:
        raise ExceptionGroup("not all could be run", problems)
