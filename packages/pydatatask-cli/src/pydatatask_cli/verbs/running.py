"""Verbs that run the pipeline."""

from __future__ import annotations

import click

from ..dry_run import show_plan
from ..exits import ExitCode
from ..interrupts import Interrupts
from ..invocation import Invocation, pass_invocation
from ..launching import changing, launch_job
from ..names import find_task
from ..running import run_shown
from .arguments import JOB, TASK, json_option

__all__ = ["launch", "run", "update"]


@click.command
@click.option("--forever", is_flag=True, help="Go on until interrupted: start whatever becomes ready.")
@click.option("--launch-once", is_flag=True, help="Start only what is ready now.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after that time."
)
@click.option("--fail-fast", is_flag=True, help="Start nothing more after the first failure.")
@click.option(
    "--events",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Append what happens to FILE, one JSON line for each event.",
)
@click.option("--dry-run", is_flag=True, help="Show what would start now, and why. Nothing is started or written.")
@json_option("with --dry-run: one JSON line for each job")
@pass_invocation
def run(
    invocation: Invocation,
    forever: bool,
    launch_once: bool,
    timeout: float | None,
    fail_fast: bool,
    events: str | None,
    dry_run: bool,
    as_json: bool,
) -> ExitCode:
    """Start what is ready until nothing is left to do.

    Ctrl-C, or SIGTERM, once: start nothing more, and let what runs in this process end. Twice: stop now.
    """
    pipeline = invocation.pipeline
    if dry_run:
        return invocation.run(show_plan(pipeline, as_json))
    if as_json:
        raise click.UsageError("--json goes with --dry-run. For what happens in a run, use --events FILE.")
    return invocation.run(run_shown(pipeline, forever, launch_once, timeout, fail_fast, events))


@click.command
@pass_invocation
def update(invocation: Invocation) -> ExitCode:
    """Do one round: start what is ready now.

    Waits for what runs in this process. Runs elsewhere go on; a later round sees their ends.
    """
    return invocation.run(run_shown(invocation.pipeline, False, True, None, False, leave=True))


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
