"""Verbs on the jobs of repositories and on their values."""

from __future__ import annotations

import os
import sys

import click
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository

from .. import output
from ..errors import UsageError
from ..exits import ExitCode
from ..invocation import Invocation, pass_invocation
from ..listing import jobs_of, parse_for
from ..names import find_link
from ..values import chunks_of, load_value, print_blob, print_value, store
from .arguments import JOB, LINK, json_option

__all__ = ["cat", "inject", "ls"]


@click.command
@click.argument("expression", nargs=-1, required=True, type=LINK)
@click.option("--count", is_flag=True, help="Print only how many there are.")
@click.option("--stream", is_flag=True, help="Print jobs as they are found, unsorted, and keep none in memory.")
@json_option("JSON Lines, one job each")
@pass_invocation
def ls(invocation: Invocation, expression: tuple[str, ...], count: bool, stream: bool, as_json: bool) -> ExitCode:
    """List the jobs of a repository or a set expression.

    \b
    task.link           the jobs of a repository
    a.done & b.in       the jobs in both
    a.done | b.in       the jobs in either
    a.done - b.in       the jobs in one that are not in the other
    a.done & book-*     those that fit a pattern of *, ? and [...]
    a.done - 'moby'     all but one job: quotes make anything a pattern
    ( ... )             groups; & and - go from left to right and before |

    Put the expression in quotes for your shell: ls 'a.done - (b.in | c.in)'. A '-' takes away only between spaces.
    """
    parsed, links = parse_for(invocation.pipeline, " ".join(expression))

    async def listing() -> int:
        found = 0
        kept: list[str] = []
        async with invocation.pipeline.reading():
            async for page in jobs_of(parsed, links):
                found += len(page)
                if not count and stream:
                    _print_jobs(page, as_json)
                elif not count:
                    kept += page
        _print_jobs(sorted(kept), as_json)
        return found

    found = invocation.run(listing())
    if count:
        _print_count(found, as_json)
    if not found:
        output.narrate("Nothing matched.")
    return ExitCode.OK if found else ExitCode.NOTHING


def _print_jobs(jobs: list[str], as_json: bool) -> None:
    if as_json:
        for job in jobs:
            output.record({"job": job})
    else:
        output.lines(jobs)


def _print_count(count: int, as_json: bool) -> None:
    if as_json:
        output.document({"count": count})
    else:
        output.line(str(count))


@click.command
@click.argument("repository", metavar="TASK.LINK", type=LINK)
@click.argument("job", type=JOB)
@click.option("--raw", is_flag=True, help="Print the stored bytes of data, too, as they are.")
@json_option("the data as JSON, or what is known of a value that is no data")
@pass_invocation
def cat(invocation: Invocation, repository: str, job: str, raw: bool, as_json: bool) -> None:
    """Print a job's value.

    Bytes are printed as they are, data as YAML.
    """
    link = find_link(invocation.pipeline, repository)
    repo = link.repo
    if raw and not isinstance(repo, BlobRepository):
        raise UsageError(f"{repository} stores no bytes, so --raw has nothing to show.")

    async def printing() -> None:
        async with invocation.pipeline.reading():
            if as_json:
                value = await load_value(repo, job)
                key = "value" if isinstance(repo, MetadataRepository) else "info"
                output.document({"repository": repository, "job": job, key: value})
            elif raw and isinstance(repo, BlobRepository):
                await print_blob(repo, job)
            else:
                await print_value(repo, job)

    invocation.run(printing())


@click.command
@click.argument("repository", metavar="TASK.LINK", type=LINK)
@click.argument("job", type=JOB)
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@pass_invocation
def inject(invocation: Invocation, repository: str, job: str, file: str) -> None:
    """Store FILE, or standard input, as a job's value.

    Bytes are stored as they are. Where a repository holds data, the input is YAML or JSON. Works while the pipeline
    runs, too: that is how one that runs forever is fed.
    """
    link = find_link(invocation.pipeline, repository)
    if file == "-" and sys.stdin.isatty():
        output.narrate(f"Type the value of {job}, and end it with Ctrl-D.")

    async def storing() -> None:
        descriptor = os.dup(sys.stdin.fileno()) if file == "-" else os.open(file, os.O_RDONLY)
        try:
            async with invocation.pipeline.reading():
                # Makes what the repository needs to be written to; the rest of the pipeline is not needed for this.
                await link.repo.validate()
                await store(link.repo, job, chunks_of(descriptor))
        finally:
            os.close(descriptor)

    invocation.run(storing())
