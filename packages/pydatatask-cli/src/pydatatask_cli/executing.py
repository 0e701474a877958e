"""A program beside a live run, with this terminal as its own: what ``exec`` does."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydatatask_core.errors import MissingJobError
from pydatatask_core.runs.interactive import Execution, Interactive, TerminalSize
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import Phase, Sighting

from . import output
from .errors import UsageError

__all__ = ["execute"]

CHUNK = 1 << 16


async def execute(task: SiteTask[object], job: str, argv: Sequence[str]) -> int:
    """Run a program where a job's live run is, and give its exit status.

    Standard input, if it is a terminal, is the program's terminal.

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
    terminal = _size() if sys.stdin.isatty() and sys.stdout.isatty() else None
    async with await site.exec(run.run, argv, terminal=terminal) as execution:
        with _raw_terminal(terminal is not None), _input_to(execution), _resizing(execution, terminal is not None):
            async for stream, data in execution.output():
                if stream == "stdout":
                    output.raw(data)
                    output.flush()
                else:
                    os.write(sys.stderr.fileno(), data)
        return execution.exit_status or 0


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


@contextmanager
def _input_to(execution: Execution) -> Iterator[None]:
    """Pass on what comes in on standard input, as it comes."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Queue[bytes] = asyncio.Queue()
    source = sys.stdin.fileno()

    def read() -> None:
        data = os.read(source, CHUNK)
        if data:
            typed.put_nowait(data)
        else:
            loop.remove_reader(source)

    async def pass_on() -> None:
        while True:
            await execution.write(await typed.get())

    with _followed(loop, source, read):
        passing = asyncio.ensure_future(pass_on())
        try:
            yield
        finally:
            passing.cancel()


@contextmanager
def _followed(loop: asyncio.AbstractEventLoop, source: int, read: Callable[[], None]) -> Iterator[None]:
    try:
        loop.add_reader(source, read)
    except PermissionError:
        # A plain file or nothing at all: it can be read at once.
        read()
        yield
        return
    try:
        yield
    finally:
        loop.remove_reader(source)


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
