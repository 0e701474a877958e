"""Verbs on single runs: those that happen on a host, in a container or in a pod, and those that failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, get_args

import click
from pydatatask_core.job import check_job
from pydatatask_core.task.record import Cause, Result

from .. import output
from ..deleting import is_glob
from ..errors import UsageError
from ..executing import execute
from ..exits import ExitCode
from ..invocation import Invocation, pass_invocation
from ..killing import kill_runs, outside
from ..launching import changing
from ..logs import print_logs
from ..names import find_task
from ..retrying import Failure, clear, failures
from .arguments import JOB, TASK, json_option

__all__ = ["exec_", "kill", "logs", "retry"]

MOST_SHOWN = 20
"""Failures that are shown before they are cleared."""


@click.command
@click.argument("task", type=TASK)
@click.argument("jobs", metavar="JOB...", type=JOB, nargs=-1, required=True)
@pass_invocation
def kill(invocation: Invocation, task: str, jobs: tuple[str, ...]) -> ExitCode:
    """End the live runs of TASK on JOBs, and record them as cancelled.

    Works while the pipeline runs, and while it does not. A cancelled job is not tried again; 'retry' clears it. A job
    that waits for its next attempt can be cancelled, too; a running pipeline notes it when that attempt is due. To end
    a run and leave no record, so that it starts again, delete it from TASK.live.
    """
    pipeline = invocation.pipeline
    chosen = outside(find_task(pipeline, task))

    async def killing() -> ExitCode:
        async with pipeline.reading():
            return await kill_runs(pipeline, chosen, list(dict.fromkeys(jobs)))

    return invocation.run(killing())


@click.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("task", type=TASK)
@click.argument("job", type=JOB)
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@pass_invocation
def exec_(invocation: Invocation, task: str, job: str, command: tuple[str, ...]) -> int:
    """Run COMMAND in the container or pod where TASK runs on JOB; a shell, if none is given.

    On a terminal, it is the command's terminal. Its exit code is the command's.
    """
    pipeline = invocation.pipeline
    chosen = outside(find_task(pipeline, task))

    async def executing() -> int:
        async with pipeline.reading():
            return await execute(chosen, job, command or ("sh",))

    return invocation.run(executing())


@click.command
@click.argument("task", type=TASK)
@click.argument("job", type=JOB)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the run has ended.")
@click.option("--stderr", is_flag=True, help="Print standard error instead of standard output.")
@click.option("--attempt", type=click.IntRange(min=1), help="Of this attempt, while it is kept. Default: the last.")
@pass_invocation
def logs(invocation: Invocation, task: str, job: str, follow: bool, stderr: bool, attempt: int | None) -> ExitCode:
    """Print what TASK wrote on JOB: live from where it runs, from the repository afterwards."""
    pipeline = invocation.pipeline
    chosen = outside(find_task(pipeline, task))
    stream: Literal["stdout", "stderr"] = "stderr" if stderr else "stdout"

    async def printing() -> None:
        async with pipeline.reading():
            await print_logs(chosen, job, stream, follow, attempt)

    invocation.run(printing())
    return ExitCode.OK


@click.command
@click.argument("task", type=TASK)
@click.argument("jobs", metavar="[JOB_OR_PATTERN]...", nargs=-1)
@click.option("--result", "results", multiple=True, type=click.Choice(get_args(Result)), help="Only of this result.")
@click.option("--cause", "causes", multiple=True, type=click.Choice(get_args(Cause)), help="Only of this cause.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print what would be cleared, and clear nothing.")
@json_option("one JSON line for each job")
@pass_invocation
def retry(
    invocation: Invocation,
    task: str,
    jobs: tuple[str, ...],
    results: tuple[str, ...],
    causes: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> ExitCode:
    """Clear failed jobs of TASK, so that they start again in the next run.

    Without JOBs all failed ones. A pattern has *, ? or [...], and quotes around it for your shell.
    """
    pipeline = invocation.pipeline
    chosen = find_task(pipeline, task)
    for job in jobs:
        if not is_glob(job):
            check_job(job)

    async def finding() -> list[Failure]:
        async with pipeline.reading():
            return await failures(chosen, jobs, results, causes)

    async def clearing(failed: Sequence[Failure]) -> None:
        async with pipeline.reading(), changing(pipeline):
            await clear(chosen, failed)

    failed = invocation.run(finding())
    if not failed:
        output.narrate("No failed job matched.")
        return ExitCode.NOTHING
    if not dry_run:
        _ask(failed, yes)
        invocation.run(clearing(failed))
        output.narrate(f"Cleared {len(failed):,}. The next run starts them again.")
    if as_json:
        for failure in failed:
            output.record({"task": failure.task, "job": failure.job, "was": failure.how})
    elif dry_run:
        output.lines(f"{failure.task} {failure.job}: {failure.how}" for failure in failed)
    return ExitCode.OK


def _ask(failed: Sequence[Failure], yes: bool) -> None:
    output.narrate("To be cleared:")
    for failure in failed[:MOST_SHOWN]:
        output.narrate(f"  {failure.task} {failure.job}: {failure.how}")
    if len(failed) > MOST_SHOWN:
        output.narrate(f"  and {len(failed) - MOST_SHOWN:,} more")
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("Nothing was cleared: there is nobody to ask. Say --yes to clear all of this.")
    if not click.confirm("Clear all of this?", err=True):
        raise click.Abort
