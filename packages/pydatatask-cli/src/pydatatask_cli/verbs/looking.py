"""Verbs that look at a pipeline and change nothing."""

from __future__ import annotations

import sys

import click
from pydatatask_core.job import check_job

from .. import output
from ..asking_view import source_line, summary_line
from ..exits import ExitCode, exit_code
from ..invocation import Invocation, pass_invocation
from ..names import find_task
from ..status import collect_status
from ..status_view import draw_status, lock_line, narrate_errors, status_lines
from ..trace import collect_traces
from ..trace_view import trace_lines
from ..why import explain, explain_all
from ..why_view import group_lines, verdict_lines
from .arguments import JOB, TASK, json_option

__all__ = ["status", "trace", "why"]

all_option = click.option(
    "-a", "--all", "all_links", is_flag=True, help="Show links that are neither input, status nor output, too."
)


@click.command
@all_option
@click.option("--failed", is_flag=True, help="Count how runs ended. Reads every done record.")
@json_option("one JSON document")
@pass_invocation
def status(invocation: Invocation, all_links: bool, failed: bool, as_json: bool) -> ExitCode:
    """Show how many jobs each repository holds."""

    async def looking() -> ExitCode:
        async with invocation.pipeline.reading():
            found = await collect_status(invocation.pipeline, all_links, failed)
        if as_json:
            output.document(found.data())
        elif output.is_terminal(sys.stdout):
            draw_status(found)
        else:
            output.lines(status_lines(found))
        if found.lock is not None and not as_json:
            output.narrate(lock_line(found.lock))
        if not as_json:
            for name, crowds in found.crowds.items():
                output.narrate(summary_line(name, crowds))
            if found.asked.silence is not None:
                output.narrate(f"How its jobs stand is not told: {found.asked.silence}.")
        narrate_errors(found.errors)
        return ExitCode.UNREACHABLE if found.errors else ExitCode.OK

    return invocation.run(looking())


@click.command
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, type=JOB)
@all_option
@json_option("one JSON document")
@pass_invocation
def trace(invocation: Invocation, jobs: tuple[str, ...], all_links: bool, as_json: bool) -> ExitCode:
    """Show where jobs are, and what became of their runs."""

    async def looking() -> ExitCode:
        async with invocation.pipeline.reading():
            traces = await collect_traces(invocation.pipeline, jobs, all_links)
        if as_json:
            output.document(traces.data())
        for one in traces.jobs:
            if not one.found:
                output.narrate(f"No repository holds {one.job}.")
            elif not as_json:
                output.lines(trace_lines(one))
        narrate_errors(traces.errors)
        if traces.errors:
            return ExitCode.UNREACHABLE
        return ExitCode.OK if any(one.found for one in traces.jobs) else ExitCode.NOTHING

    return invocation.run(looking())


@click.command
@click.argument("task", type=TASK)
@click.argument("job", required=False, type=JOB)
@json_option("one JSON document")
@pass_invocation
def why(invocation: Invocation, task: str, job: str | None, as_json: bool) -> ExitCode:
    """Say why TASK starts JOB or does not.

    Says what would change that, too. Without JOB: how many jobs of its inputs are kept from starting by what.
    """
    chosen = find_task(invocation.pipeline, task)

    async def one(job: str) -> ExitCode:
        async with invocation.pipeline.reading():
            verdict = await explain(invocation.pipeline, chosen, check_job(job))
        if as_json:
            output.document(verdict.data())
        else:
            output.lines(verdict_lines(verdict))
            output.narrate(source_line(verdict.asked))
        return exit_code(ExceptionGroup("", verdict.errors)) if verdict.errors else ExitCode.OK

    async def all_jobs() -> ExitCode:
        async with invocation.pipeline.reading():
            groups = await explain_all(invocation.pipeline, chosen)
        if as_json:
            output.document(groups.data())
        else:
            output.lines(group_lines(groups))
            output.narrate(source_line(groups.asked))
        if not groups.groups and not groups.errors:
            output.narrate(f"No input of {task} holds a job.")
        narrate_errors(groups.errors)
        if groups.errors:
            return exit_code(ExceptionGroup("", list(groups.errors.values())))
        return ExitCode.OK if groups.groups else ExitCode.NOTHING

    return invocation.run(all_jobs() if job is None else one(job))
