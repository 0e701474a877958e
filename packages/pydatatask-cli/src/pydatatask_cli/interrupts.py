"""Ctrl-C and SIGTERM while something runs: the first asks it to end, the second ends it.

Plain signal handlers, not the event loop's own: a function that keeps the loop busy must not keep the user waiting.
Threads and workers of executors cannot be cancelled, and Python waits for them before it ends; so what was told to
stop now is given a moment to clean up, and then the process is ended as it stands.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType, TracebackType
from typing import Self

from . import output
from .exits import ExitCode

__all__ = ["Interrupts"]

GRACE = 2.0
"""Seconds that cleaning up may take."""

PATIENCE = 0.5
"""Seconds after which somebody who pressed Ctrl-C should see that it was noticed."""

SOON = 5.0
"""Seconds in which the interpreter begins to exit, if it does so because of us."""


class Interrupts:
    """Handles SIGINT and SIGTERM around a block that runs in an asyncio task of the main thread."""

    def __init__(self, stop: Callable[[], str | None]) -> None:
        """``stop`` asks what runs to end and says how, or gives None if nothing runs that could be asked."""
        self.count = 0
        """Signals so far."""
        self._stop = stop
        self._earlier: dict[int, object] = {}
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._heard = threading.Event()
        self._over = threading.Event()
        self._hurry: ExitCode | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave is what it takes
        self._over.set()
        if self._hurry is not None:
            _watch(partial(_hurry_exit, self._hurry))

    def hurry(self, code: ExitCode, why: str) -> None:
        """See that the block ends soon, and then the interpreter if it exits, whatever is still busy."""
        self._hurry = code

        def watch() -> None:
            if not self._over.wait(GRACE):
                output.complain(f"{why} Something stays busy, and is left alone.")
                _leave(code)

        _watch(watch)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            _leave(ExitCode.INTERRUPTED)
        if self.count == 2:
            self.hurry(ExitCode.INTERRUPTED, "Interrupted.")
            self._loop.call_soon_threadsafe(self._cancel)
        else:
            _watch(self._say_if_busy)
            self._loop.call_soon_threadsafe(self._ask)

    def _say_if_busy(self) -> None:
        if not self._heard.wait(PATIENCE):
            output.narrate("Interrupted, and waiting for something that keeps the event loop busy. Once more ends it.")

    def _ask(self) -> None:
        self._heard.set()
        answer = self._stop()
        if answer is None:
            self._cancel()
        else:
            output.narrate(answer)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _watch(watch: Callable[[], None]) -> None:
    threading.Thread(target=watch, name="pydatatask-leave", daemon=True).start()


def _hurry_exit(code: ExitCode) -> None:
    """Do not let the interpreter's exit take longer than a moment. A script that goes on is left alone."""
    began = time.monotonic()
    exiting: float | None = None
    while exiting is not None or time.monotonic() < began + SOON:
        time.sleep(0.05)
        if exiting is None and _is_exiting():
            exiting = time.monotonic()
        if exiting is not None and time.monotonic() > exiting + GRACE:
            _leave(code)


def _is_exiting() -> bool:
    """Tell whether the main thread waits for other threads at the very end, which nothing public tells."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename == threading.__file__ and frame.f_code.co_name == "_shutdown"


def _leave(code: ExitCode) -> None:
    output.show_cursor()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):
            # Closed, unread, or interrupted in the middle of a write: what can be done was done.
            continue
    os._exit(code)
