"""What time it is, at one place, so that it can be simulated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["now", "set_clock"]


def _system() -> datetime:
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


_clock: Callable[[], datetime] = _system


def now() -> datetime:
    """Give the time: aware, UTC, in whole milliseconds, which is what every store keeps."""
    return _clock()


def set_clock(clock: Callable[[], datetime] | None) -> None:
    """Replace the clock of this process; None puts the system's back."""
    global _clock  # the one place where time comes from
    _clock = clock or _system
