"""Verbs that look at a pipeline and change nothing."""

from __future__ import annotations

import sys

import click

from .. import output
from ..exits import ExitCode
from ..invocation import Invocation, pass_invocation
from ..status import collect_status
from ..status_view import draw_status, narrate_errors, status_lines
from .arguments import json_option

__all__ = ["status"]


@click.command
@click.option(
    "-a", "--all", "all_links", is_flag=True, help="Show links that are neither input, status nor output, too."
)
@click.option("--failed", is_flag=True, help="Count how runs ended. Reads every done record.")
@json_option("one JSON document")
@pass_invocation
def status(invocation: Invocation, all_links: bool, failed: bool, as_json: bool) -> ExitCode:
    """Show how many jobs each repository holds."""

    async def collecting() -> ExitCode:
        async with invocation.pipeline.reading():
            found = await collect_status(invocation.pipeline, all_links, failed)
        if as_json:
            output.document(found.data())
        elif output.is_terminal(sys.stdout):
            draw_status(found)
        else:
            output.lines(status_lines(found))
        narrate_errors(found)
        return ExitCode.UNREACHABLE if found.errors else ExitCode.OK

    return invocation.run(collecting())
