"""Ctrl-C and SIGTERM while something runs: the first asks it to end, the second ends it.

Plain signal handlers, not the event loop's own: a function that keeps the loop busy must not keep the user waiting.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from . import output
from .exits import ExitCode

__all__ = ["Interrupts", "leave_within"]

GRACE = 2.0
"""Seconds that closing may take after the second signal, before the process is ended as it stands."""


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

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave is what it takes

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 2:
            _leave(ExitCode.INTERRUPTED)
        if self.count == 2:
            leave_within(GRACE, ExitCode.INTERRUPTED)
        self._loop.call_soon_threadsafe(self._ask if self.count == 1 else self._cancel)

    def _ask(self) -> None:
        answer = self._stop()
        if answer is None:
            self._cancel()
        else:
            output.narrate(answer)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def leave_within(seconds: float, code: ExitCode) -> None:
    """End the process after so many seconds, unless it has ended by then: busy threads cannot be cancelled."""

    def leave() -> None:
        threading.Event().wait(seconds)
        _leave(code)

    threading.Thread(target=leave, name="pydatatask-leave", daemon=True).start()


def _leave(code: ExitCode) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):
            # Closed, unread, or interrupted in the middle of a write: what can be done was done.
            continue
    os._exit(code)
