"""The verb that deletes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext

import click
from pydatatask_core.job import check_job
from pydatatask_core.task.live import LiveRuns

from .. import output
from ..deleting import Removal, delete, is_glob, plan, targets_of
from ..errors import UsageError
from ..exits import ExitCode
from ..invocation import Invocation, pass_invocation
from ..launching import changing
from .arguments import TARGET

__all__ = ["rm"]

MOST_SHOWN = 10
"""Jobs of one repository that are shown before they are deleted."""


@click.command
@click.argument("target", metavar="TASK.LINK|TASK", type=TARGET)
@click.argument("jobs", metavar="JOB_OR_PATTERN...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Delete what was made from them, too, the farthest first.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
@pass_invocation
def rm(
    invocation: Invocation, target: str, jobs: tuple[str, ...], recursive: bool, yes: bool, dry_run: bool
) -> ExitCode:
    """Delete jobs from a repository or a task.

    From a task means from all that it fills: its outputs and its status. A pattern has *, ? or [...], and quotes
    around it for your shell.
    """
    pipeline = invocation.pipeline
    targets = targets_of(pipeline, target)
    for job in jobs:
        if not is_glob(job):
            check_job(job)
    may_ask = sys.stdin.isatty() and sys.stderr.isatty()

    async def planning() -> list[Removal]:
        async with pipeline.reading():
            return await plan(pipeline, targets, jobs, recursive)

    async def deleting(removals: Sequence[Removal]) -> ExitCode:
        # To end runs is no change behind the back of the controller, which follows them.
        only_live = all(isinstance(removal.repo, LiveRuns) for removal in removals)
        async with pipeline.reading(), nullcontext() if only_live else changing(pipeline):
            return await _delete(removals)

    removals = invocation.run(planning())
    if not removals:
        output.narrate("Nothing matched.")
        return ExitCode.NOTHING
    if dry_run:
        output.lines(f"{removal.name} {job}" for removal in removals for job in removal.jobs)
        return ExitCode.OK
    _show(removals)
    if not yes and not may_ask:
        raise UsageError("Nothing was deleted: there is nobody to ask. Say --yes to delete all of this.")
    if not yes and not click.confirm("Delete all of this?", err=True):
        output.narrate("Nothing was deleted.")
        return ExitCode.FAILED
    return invocation.run(deleting(removals))


async def _delete(removals: Sequence[Removal]) -> ExitCode:
    deleted: list[str] = []
    kept = 0
    for removal in removals:
        left = await delete(removal, deleted.append)
        kept += len(left)
        if left:
            output.complain(
                f"Error: {removal.name} is a view that does not let {_examples(left)} be deleted. "
                "What is behind it must be named instead."
            )
    output.narrate(f"Deleted {len(deleted):,}.")
    return ExitCode.FAILED if kept else ExitCode.OK


def _show(removals: Sequence[Removal]) -> None:
    output.narrate("To be deleted, in this order:")
    for removal in removals:
        output.narrate(f"  {removal.name}: {_examples(removal.jobs)}")


def _examples(jobs: Sequence[str]) -> str:
    if len(jobs) <= MOST_SHOWN:
        return ", ".join(jobs)
    return f"{', '.join(jobs[:MOST_SHOWN])} and {len(jobs) - MOST_SHOWN:,} more"
