"""What time it is, at one place, so that it can be simulated."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["elapsed", "now", "set_clock"]


class _System:
    """The system's clock. This is asked twice a run, many times within one millisecond."""

    def __init__(self) -> None:
        self._last = (0, datetime.fromtimestamp(0, UTC))

    def __call__(self) -> datetime:
        milliseconds = int(time.time() * 1000)
        # One assignment, so that threads see a pair that belongs together.
        known, moment = self._last
        if known != milliseconds:
            moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
            self._last = (milliseconds, moment)
        return moment


_system = _System()
_clock: Callable[[], datetime] = _system
_elapsed: Callable[[], float] = time.perf_counter


def now() -> datetime:
    """Give the time: aware, UTC, in whole milliseconds, which is what every store keeps."""
    return _clock()


def elapsed() -> float:
    """Give the seconds that work has taken, counted from some moment."""
    return _elapsed()


def set_clock(clock: Callable[[], datetime] | None, elapsed: Callable[[], float] | None = None) -> None:
    """Replace the clocks of this process; None puts the system's back."""
    global _clock, _elapsed  # the one place where time comes from
    _clock = clock or _system
    _elapsed = elapsed or time.perf_counter
