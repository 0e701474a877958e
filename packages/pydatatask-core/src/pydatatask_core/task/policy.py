"""When a failed run is tried again."""

from __future__ import annotations

import random
from collections.abc import Collection
from datetime import timedelta
from typing import get_args

from attrs import field, frozen
from attrs.validators import ge

from ..errors import ConfigurationError
from .record import Cause

__all__ = ["Retries", "Seconds", "seconds", "spelled"]

Seconds = float | timedelta
"""A duration: a number of seconds, or a timedelta."""

RETRIED: frozenset[Cause] = frozenset({"exception", "exit", "timeout", "oom", "evicted", "lost", "unschedulable"})
"""The causes that may be retried."""


def seconds(duration: Seconds | None) -> float | None:
    """Give a duration in seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def spelled(duration: float) -> str:
    """Write seconds as every ``sleep`` takes them: whole ones without a point, never with an exponent."""
    return f"{duration:.3f}".rstrip("0").rstrip(".")


@frozen
class Retries:
    """How often, after which causes and after how long a failed attempt is followed by another one."""

    count: int = field(default=0, validator=ge(0))
    """Attempts after the first one."""
    delay: float = field(default=1.0, validator=ge(0), kw_only=True)
    """Seconds before the first retry."""
    factor: float = field(default=2.0, validator=ge(1), kw_only=True)
    """By which the delay grows from one retry to the next."""
    longest: float = field(default=300.0, validator=ge(0), kw_only=True)
    """Seconds that a delay never exceeds, jitter excluded."""
    jitter: float = field(default=0.1, validator=ge(0), kw_only=True)
    """The largest random addition to a delay, as a share of it."""
    causes: Collection[Cause] = field(default=RETRIED, kw_only=True)
    """The causes that are retried."""

    def __attrs_post_init__(self) -> None:
        unknown = set(self.causes) - RETRIED
        if unknown:
            raise ConfigurationError(
                f"Retries: {sorted(unknown)} are no causes that can be retried. Choose among {sorted(RETRIED)} "
                f"(of all causes {sorted(get_args(Cause))})."
            )

    def delay_after(self, cause: Cause | None, attempt: int) -> float | None:
        """Give the seconds to wait after a failed attempt (the first is 1), or None if it was the last one."""
        if attempt > self.count or cause not in self.causes:
            return None
        delay = min(self.delay * self.factor ** min(attempt - 1, 60), self.longest)
        return delay * (1 + random.uniform(0, self.jitter))  # noqa: S311  # spreads load, guards nothing
