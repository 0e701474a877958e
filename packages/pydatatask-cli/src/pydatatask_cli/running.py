"""A run of the pipeline, watched from the command line: what ``run`` and ``update`` do."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager

from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.runs.lifecycle import SiteTask

from . import output
from .event_log import logging_events
from .exits import ExitCode
from .interrupts import Interrupts
from .progress import QUIET, Progress, plain_ticks, ticking

__all__ = ["run_shown"]

MOST_PROBLEMS = 10
"""Problems that are shown again in the end."""


async def run_shown(
    pipeline: Pipeline,
    forever: bool,
    launch_once: bool,
    timeout: float | None,  # noqa: ASYNC109  # the pipeline's own, handed on
    fail_fast: bool,
    events: str | None = None,
    leave: bool = False,
) -> ExitCode:
    """Open the pipeline, run it, and show what happens. Ctrl-C once stops it gently, twice at once.

    :param events: a file to append what happens to, as JSON lines.
    :param leave: let runs on other sites go on, and do not wait for their ends.

    Fails as :meth:`Pipeline.open` and :meth:`Pipeline.run` do.
    """
    progress = Progress(pipeline.tasks, lambda: pipeline.controller)
    with Interrupts(lambda: _stop(pipeline)) as interrupts, logging_events(events) as observers:
        async with pipeline:
            try:
                async with _shown(progress):
                    controller = await pipeline.run(
                        forever,
                        launch_once,
                        timeout,
                        observers=[progress, *observers],
                        fail_fast=fail_fast,
                        leave=leave,
                    )
            except TimeoutError as error:
                _narrate(progress.summary_so_far())
                # Threads and workers that are busy cannot be cancelled, and closing would wait for them.
                interrupts.hurry(ExitCode.TIMEOUT, f"Error: {error}")
                raise
            except BaseException:
                _narrate(progress.summary_so_far())
                raise
        _narrate(progress.summary(controller))
        return _conclude(controller, interrupts, fail_fast)


def _stop(pipeline: Pipeline) -> str | None:
    controller = pipeline.controller
    if controller is None:
        return None
    controller.stop()
    left = {name for name, task in pipeline.tasks.items() if isinstance(task, SiteTask)}
    here = sum(task.live for task in controller.progress() if task.name not in left)
    elsewhere = sum(task.live for task in controller.progress() if task.name in left)
    what = f"waiting for {_runs(here)} to end" if here or not elsewhere else "ending"
    go_on = (
        f" {_runs(elsewhere)} elsewhere will go on, and the next run of the pipeline finds them." if elsewhere else ""
    )
    return f"Starting nothing more, {what}.{go_on} Once more stops at once."


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number:,} runs"


def _shown(progress: Progress) -> AbstractAsyncContextManager[None]:
    if not output.is_terminal(sys.stderr):
        return ticking(QUIET, plain_ticks(progress))
    # Rich takes as long to import as everything else.
    from .live import live_table

    return live_table(progress)


def _conclude(controller: Controller, interrupts: Interrupts, fail_fast: bool) -> ExitCode:
    problems = controller.problems()
    for problem in problems[:MOST_PROBLEMS]:
        output.complain(f"Error: {problem}")
    if len(problems) > MOST_PROBLEMS:
        output.complain(f"Error: and {len(problems) - MOST_PROBLEMS:,} more like these.")
    failed = any(task.failed or task.could_not_start for task in controller.progress())
    if interrupts.count:
        return ExitCode.INTERRUPTED
    if controller.stopping and not (fail_fast and failed):
        output.complain("Error: The pipeline's lock was lost on the way, and nothing more was started since.")
        return ExitCode.LOCKED
    return ExitCode.FAILED if failed or problems else ExitCode.OK


def _narrate(lines: list[str]) -> None:
    for line in lines:
        output.narrate(line)
