"""Exit codes, and the one place that decides which error leads to which."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterator
from enum import IntEnum

import click
from pydatatask_core.errors import (
    ConfigurationError,
    JobIdError,
    LockHeldError,
    MissingJobError,
    SessionClosedError,
    SiteUnavailableError,
    StoreUnavailableError,
    TemplateError,
)

from . import output
from .errors import LoadError, UsageError
from .output import ReaderGoneError

__all__ = ["ExitCode", "exit_code", "lines_of", "report"]


class ExitCode(IntEnum):
    """What the command tells the shell."""

    OK = 0
    FAILED = 1
    """A job failed, or can never start in this run; or something happened that has no code of its own."""
    USAGE = 2
    PIPELINE = 3
    """The pipeline does not load, or does not validate."""
    UNREACHABLE = 4
    """A store or site cannot be asked."""
    NOTHING = 5
    """Nothing matched."""
    LOCKED = 6
    """Another controller holds the lock."""
    TIMEOUT = 124
    INTERRUPTED = 130
    READER_GONE = 141
    """Whoever read standard output went away, as ``head`` does: what a shell reports for SIGPIPE."""


_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode], ...] = (
    ((KeyboardInterrupt, asyncio.CancelledError, click.Abort), ExitCode.INTERRUPTED),
    (ReaderGoneError, ExitCode.READER_GONE),
    (LockHeldError, ExitCode.LOCKED),
    ((UsageError, JobIdError, click.UsageError), ExitCode.USAGE),
    ((LoadError, ConfigurationError, TemplateError, SessionClosedError), ExitCode.PIPELINE),
    ((StoreUnavailableError, SiteUnavailableError, ConnectionError), ExitCode.UNREACHABLE),
    (MissingJobError, ExitCode.NOTHING),
    (TimeoutError, ExitCode.TIMEOUT),
)
"""The first row that fits decides; of several errors in a group, the one whose row comes first."""


def exit_code(error: BaseException) -> ExitCode:
    """Give the exit code of an error, or of a group of them."""
    errors = list(_each(error))
    for kinds, code in _CODES:
        if any(isinstance(one, kinds) for one in errors):
            return code
    return ExitCode.FAILED


def lines_of(error: BaseException) -> list[str]:
    """Say an error in a few lines: one for each error of a group."""
    return [_line(one) for one in _each(error)]


def report(error: BaseException, debug: bool) -> ExitCode:
    """Show what ended the command, and give its exit code.

    :param debug: show the traceback as well.
    """
    code = exit_code(error)
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if code is ExitCode.READER_GONE:
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
        output.complain(f"Error: {line}")
    if not debug and code is ExitCode.FAILED:
        output.narrate("Use --debug to see where it happened.")
    return code


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error


def _line(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, PLAIN) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


PLAIN = (
    ConfigurationError,
    JobIdError,
    LoadError,
    LockHeldError,
    MissingJobError,
    SessionClosedError,
    SiteUnavailableError,
    StoreUnavailableError,
    TemplateError,
    TimeoutError,
    UsageError,
)
"""Errors whose message says all; others are shown with their type."""
