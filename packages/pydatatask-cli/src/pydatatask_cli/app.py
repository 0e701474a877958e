"""The ``pydatatask`` command, and the same verbs for a script's own pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import click
from pydatatask_core.pipeline.pipeline import Pipeline

from .invocation import Invocation, invoke
from .verbs import VERBS

__all__ = ["entry", "main", "make_group"]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

HELP = """Run a pipeline, and look into it.

    A repository is named TASK.LINK. Data goes to standard output, everything else to standard error.

    Exit codes: 0 fine, 1 a job failed or can never start in this run, 2 usage, 3 the pipeline does not load or
    validate, 4 a store or site is unreachable, 5 nothing matched, 6 another controller holds the lock, 124 timeout,
    130 interrupted.
    """


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
        params.insert(
            0,
            click.Option(
                ["-p", "--pipeline"],
                metavar="FILE_OR_MODULE[:NAME]",
                envvar="PYDATATASK_PIPELINE",
                help="Where the pipeline is. [env: PYDATATASK_PIPELINE]",
                type=click.Path(),
            ),
        )
    group = click.Group("pydatatask", callback=callback, params=params, help=HELP, context_settings=dict(CONTEXT))
    group = click.version_option(version("pydatatask-cli"), prog_name="pydatatask-cli")(group)
    for verb in VERBS:
        group.add_command(verb)
    return group


def entry() -> None:
    """Be the ``pydatatask`` command.

    :raises SystemExit: always, with the exit code.
    """
    sys.exit(invoke(make_group(any_pipeline=True), Invocation(), "pydatatask"))


def main(pipeline: Pipeline, instrument: Callable[[click.Group], Any] | None = None) -> None:
    """Do what ``sys.argv`` says with a pipeline. Call this at the end of the script that makes it.

    :param instrument: receives the click group, so that a script can add verbs to it.
    :raises SystemExit: always, with the exit code.
    """
    group = make_group(any_pipeline=False)
    if instrument is not None:
        instrument(group)
    sys.exit(invoke(group, Invocation(given=pipeline), None))
