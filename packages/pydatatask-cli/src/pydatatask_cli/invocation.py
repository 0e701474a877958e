"""One call of the command: which pipeline it is about, and how a verb is run and ends.

Nothing of the core is imported before it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import output

if TYPE_CHECKING:
    from pydatatask_core.pipeline.pipeline import Pipeline

__all__ = ["Invocation", "completion_variable", "invoke", "pass_invocation"]

T = TypeVar("T")


class Invocation:
    """What every verb gets: the pipeline, once it is wanted."""

    def __init__(self, given: Pipeline | None = None) -> None:
        """``given`` is the pipeline of the script that called ``main``; the ``pydatatask`` command has none."""
        self.spec: str | None = None
        """Where the ``pydatatask`` command finds the pipeline: a file or module."""
        self.debug = os.environ.get("PYDATATASK_DEBUG", "") not in {"", "0"}
        """Whether errors are shown with their traceback."""
        self._pipeline = given

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that this call is about, loaded when first asked for.

        :raises UsageError: if nobody said which.
        :raises LoadError: if it does not load.
        """
        if self._pipeline is None:
            from .errors import UsageError
            from .load import load_pipeline

            if self.spec is None:
                raise UsageError(
                    "Which pipeline? Say -p FILE_OR_MODULE[:NAME], or set PYDATATASK_PIPELINE, "
                    "or call pydatatask.main(pipeline) in a script."
                )
            self._pipeline = load_pipeline(self.spec)
        return self._pipeline

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a verb to its end on a new event loop.

        :raises ReaderGoneError: if nobody reads the output any more.
        """
        import asyncio

        result = asyncio.run(coroutine)
        output.flush()
        return result


pass_invocation: Callable[[Callable[..., Any]], Callable[..., Any]] = click.make_pass_decorator(Invocation)
"""Gives a verb its :class:`Invocation` as first argument."""


def completion_variable(program: str) -> str:
    """Name the environment variable by which a shell asks the program to complete."""
    return f"_{re.sub(r'[^A-Za-z0-9]', '_', program)}_COMPLETE".upper()


def invoke(group: click.Group, invocation: Invocation, prog_name: str | None, args: list[str] | None = None) -> int:
    """Parse arguments, run the verb, show what went wrong, and give the exit code."""
    output.log_to_stderr(lambda: invocation.debug)
    program = prog_name or Path(sys.argv[0]).name
    variable = completion_variable(program)
    try:
        result = group.main(args, program, complete_var=variable, standalone_mode=False, obj=invocation)
        output.flush()
    except SystemExit as end:  # completion, and verbs that scripts added
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        output.narrate(str(end.code))
        return 1
    except BaseException as error:  # noqa: BLE001  # the outermost place: whatever it is becomes a code
        from .exits import report

        return report(error, invocation.debug)
    # Verbs give their code; what one that a script added gives may be anything.
    return result if isinstance(result, int) and not isinstance(result, bool) else 0
