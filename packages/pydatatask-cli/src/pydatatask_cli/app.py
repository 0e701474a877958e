"""The ``pydatatask`` command, and the same verbs for a script's own pipeline.

A verb's module is loaded when the verb is used. What ``--help`` says of it stands here, so that it need not be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from . import output
from .invocation import Invocation, invoke

if TYPE_CHECKING:
    from pydatatask_core.pipeline.pipeline import Pipeline

__all__ = ["VERBS", "entry", "main", "make_group"]

VERBS = {
    "run": ("running", "Start what is ready until nothing is left to do."),
    "update": ("running", "Do one round: start what is ready now."),
    "launch": ("running", "Run TASK on JOB now, and wait for it."),
    "kill": ("outside", "End the live runs of TASK on JOBs, and record them as cancelled."),
    "logs": ("outside", "Print what TASK wrote on JOB: live from where it runs, from the repository afterwards."),
    "exec": ("outside", "Run COMMAND in the container or pod where TASK runs on JOB; a shell, if none is given."),
    "retry": ("outside", "Clear failed jobs of TASK, so that they start again in the next run."),
    "status": ("looking", "Show how many jobs each repository holds."),
    "trace": ("looking", "Show where jobs are, and what became of their runs."),
    "why": ("looking", "Say why TASK starts JOB or does not."),
    "ls": ("values", "List the jobs of a repository or a set expression."),
    "cat": ("values", "Print a job's value."),
    "inject": ("values", "Store FILE, or standard input, as a job's value."),
    "rm": ("deleting", "Delete jobs from a repository or a task."),
    "graph": ("structure", "Show which task feeds which."),
    "validate": ("structure", "Open the pipeline as a run would, and say what is wrong."),
    "shell": ("structure", "Start an interactive Python with the pipeline open."),
    "completion": ("structure", "Print what makes a shell complete names."),
}
"""Each verb's module, and its first sentence."""

HELP = """Run a pipeline, and look into it.

    A repository is named TASK.LINK. Data goes to standard output, everything else to standard error.

    Exit codes: 0 fine, 1 a job failed or can never start in this run, 2 usage, 3 the pipeline does not load or
    validate, 4 a store or site is unreachable, 5 nothing matched, 6 another controller holds the lock, 124 timeout,
    130 interrupted.
    """


class _Verbs(click.Group):
    """The verbs of this package, and those that a script added; one of the same name replaces ours."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            # Whoever says nothing wants to know what there is to say.
            output.narrate(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS, *(name for name in super().list_commands(ctx) if name not in VERBS)]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        added = super().get_command(ctx, cmd_name)
        if added is not None or cmd_name not in VERBS:
            return added
        module = import_module(f".verbs.{VERBS[cmd_name][0]}", __package__)
        # A verb may be a word that Python keeps for itself.
        command: click.Command = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in self.commands or name not in VERBS:
                command = self.get_command(ctx, name)
                if command is not None and not command.hidden:
                    rows.append((name, command.get_short_help_str(80)))
            else:
                rows.append((name, VERBS[name][1]))
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


def make_group(*, any_pipeline: bool) -> click.Group:
    """Make the command with all its verbs.

    :param any_pipeline: add ``-p``, which says where the pipeline is.
    """

    @click.pass_context
    def callback(context: click.Context, /, debug: bool, pipeline: str | None = None) -> None:
        invocation = context.ensure_object(Invocation)
        invocation.debug = invocation.debug or debug
        invocation.spec = pipeline

    params: list[click.Parameter] = [
        click.Option(["--debug"], is_flag=True, help="Show tracebacks and log records. [env: PYDATATASK_DEBUG]"),
    ]
    if any_pipeline:
        where = click.Option(
            ["-p", "--pipeline"],
            metavar="FILE_OR_MODULE[:NAME]",
            envvar="PYDATATASK_PIPELINE",
            help="Where the pipeline is. [env: PYDATATASK_PIPELINE]",
            type=click.Path(),
        )
        params.insert(0, where)
    group = _Verbs(
        "pydatatask",
        callback=callback,
        params=params,
        help=HELP,
        subcommand_metavar="VERB [ARGS]...",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    return click.version_option(package_name="pydatatask-cli", prog_name="pydatatask-cli")(group)


def entry() -> None:
    """Be the ``pydatatask`` command.

    :raises SystemExit: always, with the exit code.
    """
    sys.exit(invoke(make_group(any_pipeline=True), Invocation(), "pydatatask"))


def main(pipeline: Pipeline, instrument: Callable[[click.Group], Any] | None = None) -> None:
    """Do what ``sys.argv`` says with a pipeline. Call this at the end of the script that makes it.

    :param instrument: receives the click group, so that a script can add verbs to it. In a verb,
        ``click.get_current_context().obj.pipeline`` is the pipeline.
    :raises SystemExit: always, with the exit code.
    """
    group = make_group(any_pipeline=False)
    if instrument is not None:
        instrument(group)
    sys.exit(invoke(group, Invocation(given=pipeline), None))
