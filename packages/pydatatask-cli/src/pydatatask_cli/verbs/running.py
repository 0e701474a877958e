"""Verbs that run the pipeline."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager

import click
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.pipeline import Pipeline

from .. import output
from ..exits import ExitCode
from ..interrupts import Interrupts
from ..invocation import Invocation, pass_invocation
from ..launching import changing, launch_job
from ..names import find_task
from ..progress import QUIET, Progress, plain_ticks, ticking
from .arguments import JOB, TASK

__all__ = ["launch", "run", "update"]


@click.command
@click.option("--forever", is_flag=True, help="Go on until interrupted: start whatever becomes ready.")
@click.option("--launch-once", is_flag=True, help="Start only what is ready now.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after that time."
)
@click.option("--fail-fast", is_flag=True, help="Start nothing more after the first failure.")
@pass_invocation
def run(invocation: Invocation, forever: bool, launch_once: bool, timeout: float | None, fail_fast: bool) -> ExitCode:
    """Start what is ready until nothing is left to do.

    Ctrl-C, or SIGTERM, once: start nothing more, and let what runs in this process end. Twice: stop now.
    """
    pipeline = invocation.pipeline
    return invocation.run(_run(pipeline, forever, launch_once, timeout, fail_fast))


@click.command
@pass_invocation
def update(invocation: Invocation) -> ExitCode:
    """Do one round: start what is ready now.

    Waits for the functions among it to end.
    """
    return invocation.run(_run(invocation.pipeline, False, True, None, False))


@click.command
@click.argument("task", type=TASK)
@click.argument("job", type=JOB)
@click.option("--sync", is_flag=True, help="Run it in this process, where it can be.")
@click.option("--meta/--no-meta", default=True, show_default=True, help="Publish its done record.")
@click.option("-f", "--force", is_flag=True, help="Start it even if it is not ready.")
@pass_invocation
def launch(invocation: Invocation, task: str, job: str, sync: bool, meta: bool, force: bool) -> ExitCode:
    """Run TASK on JOB now, and wait for it."""
    pipeline = invocation.pipeline
    chosen = find_task(pipeline, task)

    async def launching() -> ExitCode:
        with Interrupts(lambda: None):
            async with pipeline, changing(pipeline):
                return await launch_job(pipeline, chosen, job, synchronous=sync, metadata=meta, force=force)

    return invocation.run(launching())


async def _run(
    pipeline: Pipeline,
    forever: bool,
    launch_once: bool,
    timeout: float | None,  # noqa: ASYNC109  # the pipeline's own, handed on
    fail_fast: bool,
) -> ExitCode:
    def stop() -> str | None:
        if pipeline.controller is None:
            return None
        pipeline.controller.stop()
        live = sum(task.live for task in pipeline.controller.progress())
        what = f"waiting for {live} runs to end" if live != 1 else "waiting for 1 run to end"
        return f"Starting nothing more, {what}. Once more stops at once."

    with Interrupts(stop) as interrupts:
        async with pipeline:
            progress = Progress(pipeline.tasks, lambda: pipeline.controller)
            try:
                async with _shown(progress):
                    controller = await pipeline.run(
                        forever, launch_once, timeout, observers=[progress], fail_fast=fail_fast
                    )
            except TimeoutError as error:
                # Threads and workers that are busy cannot be cancelled, and closing would wait for them.
                interrupts.hurry(ExitCode.TIMEOUT, f"Error: {error}")
                raise
        return _conclude(progress, controller, interrupts)


def _shown(progress: Progress) -> AbstractAsyncContextManager[None]:
    if not output.is_terminal(sys.stderr):
        return ticking(QUIET, plain_ticks(progress))
    from ..live import live_table

    return live_table(progress)


def _conclude(progress: Progress, controller: Controller, interrupts: Interrupts) -> ExitCode:
    for line in progress.summary(controller):
        output.narrate(line)
    for problem in controller.problems():
        output.narrate(f"Error: {problem}")
    if interrupts.count:
        return ExitCode.INTERRUPTED
    failed = any(task.failed or task.could_not_start for task in controller.progress())
    return ExitCode.FAILED if failed or controller.problems() else ExitCode.OK
