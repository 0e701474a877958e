"""A program beside a live run, with this terminal as its own: what ``exec`` does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from pydatatask_core.errors import MissingJobError, SiteUnavailableError
from pydatatask_core.runs.interactive import Execution, Interactive, TerminalSize
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import Phase, Sighting

from . import output
from .errors import UsageError

__all__ = ["execute"]

CHUNK = 1 << 16

QUICK = 2.0
"""Seconds in which a program may end by itself before anything is said about its input."""


async def execute(task: SiteTask[object], job: str, argv: Sequence[str]) -> int:
    """Run a program where a job's live run is, and give its exit status.

    Standard input goes to the program, its end included; if it is a terminal, it is the program's terminal.

    :raises UsageError: if the site has no inside to look into.
    :raises MissingJobError: if no run is live.
    :raises SiteUnavailableError: if the site cannot be asked, or the connection is lost.
    """
    site = task.site
    if not isinstance(site, Interactive):
        raise UsageError(
            f"Runs of {task.name} are processes of {site.host}, inside of nothing. Log in there to look at them."
        )
    run = await _live(task, job)
    terminal = _size() if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() else None
    async with await site.exec(run.run, argv, terminal=terminal) as execution:
        with _raw_terminal(terminal is not None), _resizing(execution, terminal is not None):
            async with _input_to(execution):
                await _show(execution)
        return execution.exit_status or 0


async def _show(execution: Execution) -> None:
    async for stream, data in execution.output():
        if stream == "stdout":
            output.raw(data)
            output.flush()
        else:
            os.write(sys.stderr.fileno(), data)


async def _live(task: SiteTask[object], job: str) -> Sighting:
    runs = [run for run in await task.site.look(task.name, job) if run.owner == task.owner]
    if not runs or runs[-1].phase is not Phase.RUNNING:
        raise MissingJobError(f"No run of {task.name} on job {job!r} is live.")
    return runs[-1]


def _size() -> TerminalSize:
    size = shutil.get_terminal_size()
    return TerminalSize(size.columns, size.lines)


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    """Hand every key to the program, Ctrl-C included."""
    if not wanted:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@asynccontextmanager
async def _input_to(execution: Execution) -> AsyncIterator[None]:
    """Pass on what comes in on standard input, as it comes and as fast as it is taken, and its end."""
    passing = asyncio.ensure_future(_pass_on(execution))
    try:
        yield
    finally:
        passing.cancel()
        (failure,) = await asyncio.gather(passing, return_exceptions=True)
        # A program need not read its input to the end. A connection that is lost is told by its output.
        if isinstance(failure, Exception) and not isinstance(failure, SiteUnavailableError):
            raise failure


async def _pass_on(execution: Execution) -> None:
    if sys.stdin is not None:
        while data := await _read(sys.stdin.fileno()):
            await execution.write(data)
    if not await execution.end_input():
        await asyncio.sleep(QUICK)
        output.complain(
            "The program still runs, and cannot be told there that its input has ended. If it waits for that, press "
            "Ctrl-C."
        )


async def _read(source: int) -> bytes:
    """Read what there is, once there is something; nothing at the end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(source, ready.set)
    except PermissionError:
        # A plain file: it can be read at once.
        return os.read(source, CHUNK)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(source)
    return os.read(source, CHUNK)


@contextmanager
def _resizing(execution: Execution, wanted: bool) -> Iterator[None]:
    """Tell the program when the terminal's size changes."""
    if not wanted:
        yield
        return
    loop = asyncio.get_running_loop()
    resizes: set[asyncio.Task[None]] = set()

    def resized() -> None:
        resize = asyncio.ensure_future(execution.resize(_size()))
        resizes.add(resize)
        resize.add_done_callback(resizes.discard)

    loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
