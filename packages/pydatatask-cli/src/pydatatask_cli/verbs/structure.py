"""Verbs about the pipeline as a whole, and about the command itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from .. import output
from ..checking import Finding, deep_findings
from ..drawing import as_data, as_dot, as_mermaid, as_text
from ..errors import UsageError
from ..exits import ExitCode, exit_code, lines_of
from ..invocation import Invocation, completion_variable, pass_invocation
from .arguments import json_option

__all__ = ["completion", "graph", "shell", "validate"]


@click.command
@click.option("--format", "form", type=click.Choice(["text", "dot", "mermaid", "json"]), default="text")
@json_option("one JSON document, as --format json does")
@pass_invocation
def graph(invocation: Invocation, form: str, as_json: bool) -> None:
    """Show which task feeds which.

    Asks no store.
    """
    found = invocation.pipeline.graph
    if as_json or form == "json":
        output.document(as_data(found))
    else:
        output.lines({"text": as_text, "dot": as_dot, "mermaid": as_mermaid}[form](found))


@click.command
@click.option("--deep", is_flag=True, help="Compare done records with outputs. Lists them all, and reads every record.")
@json_option("one JSON document")
@pass_invocation
def validate(invocation: Invocation, deep: bool, as_json: bool) -> ExitCode:
    """Open the pipeline as a run would, and say what is wrong.

    Makes what a run would make (folders, buckets), and starts nothing.
    """
    pipeline = invocation.pipeline

    async def checking() -> list[Finding]:
        async with pipeline:
            if unreachable := await pipeline.settled():
                raise ExceptionGroup("stores do not answer", list(unreachable.values()))
            return await deep_findings(pipeline) if deep else []

    try:
        findings = invocation.run(checking())
    except Exception as error:
        if as_json:
            output.document({"valid": False, "problems": lines_of(error), "findings": []})
            return exit_code(error)
        raise
    if as_json:
        output.document({"valid": True, "problems": [], "findings": [finding.data() for finding in findings]})
    else:
        _say(len(pipeline.tasks), len(pipeline.repositories()), findings, deep)
    return ExitCode.FAILED if findings else ExitCode.OK


def _say(tasks: int, repositories: int, findings: list[Finding], deep: bool) -> None:
    what = f"{_count(tasks, 'task')} and {_count(repositories, 'repository')}"
    output.line(f"{what}: ready to run.")
    output.lines(map(str, findings))
    if deep and not findings:
        output.line("Done records and outputs agree.")


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


@click.command
@pass_invocation
def shell(invocation: Invocation) -> None:
    """Start an interactive Python with the pipeline open.

    In it await works. IPython is used where it is installed.
    """
    from ..console import interact

    interact(invocation.pipeline)


@click.command
@click.argument("shell_name", metavar="[bash|zsh|fish]", required=False, type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell_name: str | None) -> None:
    """Print what makes a shell complete names.

    It completes verbs, options, tasks and repositories.

    \b
    bash:  eval "$(pydatatask completion bash)"   in ~/.bashrc
    zsh:   eval "$(pydatatask completion zsh)"    in ~/.zshrc
    fish:  pydatatask completion fish > ~/.config/fish/completions/pydatatask.fish
    """
    name = shell_name or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name)
    if kind is None:
        raise UsageError(f"Which shell? Say bash, zsh or fish; SHELL says {name!r}.")
    root = context.find_root()
    program = root.info_name or Path(sys.argv[0]).name
    extra: dict[str, Any] = {}
    output.line(kind(root.command, extra, program, completion_variable(program)).source())
