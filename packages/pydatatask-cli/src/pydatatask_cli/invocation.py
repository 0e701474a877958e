"""One call of the command: which pipeline it is about, and how a verb's coroutine is run."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import define, field
from pydatatask_core.pipeline.pipeline import Pipeline
from typing_extensions import override

from . import output
from .errors import UsageError
from .exits import ExitCode, exit_code, lines_of
from .load import load_pipeline

__all__ = ["Invocation", "completion_variable", "invoke", "pass_invocation"]

T = TypeVar("T")


@define
class Invocation:
    """What every verb gets: the pipeline, once it is wanted."""

    given: Pipeline | None = None
    """The pipeline of the script that called ``main``; None for the ``pydatatask`` command."""
    spec: str | None = None
    """Where the ``pydatatask`` command finds it: a file or module."""
    debug: bool = field(factory=lambda: os.environ.get("PYDATATASK_DEBUG", "") not in {"", "0"})
    """Whether errors are shown with their traceback."""

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that this call is about, loaded when first asked for.

        :raises UsageError: if nobody said which.
        :raises LoadError: if it does not load.
        """
        if self.given is None:
            if self.spec is None:
                raise UsageError(
                    "Which pipeline? Say -p FILE_OR_MODULE[:NAME], or set PYDATATASK_PIPELINE, "
                    "or call pydatatask.main(pipeline) in a script."
                )
            self.given = load_pipeline(self.spec)
        return self.given

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a verb to its end on a new event loop.

        :raises ReaderGoneError: if nobody reads the output any more.
        """
        result = asyncio.run(coroutine)
        output.flush()
        return result


pass_invocation: Callable[[Callable[..., Any]], Callable[..., Any]] = click.make_pass_decorator(Invocation)
"""Gives a verb its :class:`Invocation` as first argument."""


def invoke(group: click.Group, invocation: Invocation, prog_name: str | None, args: list[str] | None = None) -> int:
    """Parse arguments, run the verb, show what went wrong, and give the exit code."""
    _log_to_stderr(invocation)
    try:
        program = prog_name or Path(sys.argv[0]).name
        variable = completion_variable(program)
        result = group.main(args, program, complete_var=variable, standalone_mode=False, obj=invocation)
        output.flush()
    except SystemExit as end:  # completion, and verbs that scripts added
        return end.code if isinstance(end.code, int) else (0 if end.code is None else _say(str(end.code)))
    except BaseException as error:  # noqa: BLE001  # the outermost place: whatever it is becomes a code
        return _report(error, invocation.debug)
    return result if type(result) is int or isinstance(result, ExitCode) else ExitCode.OK


def completion_variable(program: str) -> str:
    """Name the environment variable by which a shell asks the program to complete."""
    return f"_{re.sub(r'[^A-Za-z0-9]', '_', program)}_COMPLETE".upper()


def _say(text: str) -> int:
    output.narrate(text)
    return ExitCode.FAILED


def _report(error: BaseException, debug: bool) -> int:
    code = exit_code(error)
    if code is ExitCode.READER_GONE:
        # Python would complain about the same pipe once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code
    if debug:
        output.narrate("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, click.UsageError):
        error.show(sys.stderr)
        return code
    if code is ExitCode.INTERRUPTED:
        output.narrate("Interrupted.")
        return code
    for line in lines_of(error):
        output.narrate(f"Error: {line}")
    if not debug and code is ExitCode.FAILED:
        output.narrate("Use --debug to see where it happened.")
    return code


def _log_to_stderr(invocation: Invocation) -> None:
    """Show what the library logs, one line each, unless the script has made arrangements of its own."""
    logger = logging.getLogger("pydatatask")
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = _Narrator()
    handler.setFormatter(_Brief(invocation))
    logger.addHandler(handler)
    logger.propagate = False


class _Narrator(logging.Handler):
    """Narrates. Looks up standard error each time, since a live table stands in for it meanwhile."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        output.narrate(self.format(record))


class _Brief(logging.Formatter):
    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation

    @override
    def format(self, record: logging.LogRecord) -> str:
        if self._invocation.debug:
            return super().format(record)
        return record.getMessage()
