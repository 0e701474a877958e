"""How much may run at once: cores, memory and launches, shared among tasks."""

from __future__ import annotations

import bisect
import itertools
import re
from collections import deque
from collections.abc import Callable
from typing import Self

from attrs import define, frozen
from typing_extensions import override

from ..errors import ConfigurationError

__all__ = ["Request", "ResourceManager", "Resources"]

_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}
"""The suffixes of Kubernetes quantities."""

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


@frozen
class Resources:
    """An amount of what runs need: cpu in cores, memory in bytes, launches in the window of a task."""

    cpu: float = 0.0
    mem: int = 0
    launches: int | None = None
    """None does not count launches."""

    @classmethod
    def parse(cls, cpu: str | float, mem: str | float, launches: str | int | None = None) -> Self:
        """Read amounts as Kubernetes writes them: ``"500m"`` or ``0.5`` cores, ``"1Gi"`` or a number of bytes.

        :raises ConfigurationError: for anything else, or a negative amount.
        """
        return cls(
            quantity(cpu, "cpu"),
            round(quantity(mem, "mem")),
            None if launches is None else int(quantity(launches, "launches")),
        )

    @override
    def __str__(self) -> str:
        launches = "" if self.launches is None else f", {self.launches} launches"
        return f"{self.cpu:g} cpu, {_memory(self.mem)} mem{launches}"

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpu + other.cpu, self.mem + other.mem, _sum(self.launches, other.launches))

    def __sub__(self, other: Resources) -> Resources:
        launches = None if self.launches is None else self.launches - (other.launches or 0)
        return Resources(self.cpu - other.cpu, self.mem - other.mem, launches)

    def exceeding(self, quota: Resources) -> str | None:
        """Name the first amount that is larger than a quota's; None if all fit."""
        # Sums of fractions of cores are not exact.
        if self.cpu > quota.cpu + 1e-9:
            return "cpu"
        if self.mem > quota.mem:
            return "mem"
        if quota.launches is not None and (self.launches or 0) > quota.launches:
            return "launches"
        return None


@define(eq=False)
class Request:
    """A job that wants to start, and what it needs."""

    cost: Resources
    priority: int
    window: float
    """Seconds in which launches are counted."""
    granted: Callable[[Request], None]
    """Called when there is room after waiting; what it needs is reserved by then."""


class ResourceManager:
    """A quota that tasks share, and who has how much of it.

    Requests are granted by priority, those of one priority in the order in which they came. One that does not fit
    does not hold up another of the same priority behind it, but those of a lower one.
    """

    def __init__(self, quota: Resources) -> None:
        self.quota = quota
        self.used = Resources()
        """What granted requests need, launches left out."""
        self._launches: deque[tuple[float, int]] = deque()
        self._waiting: list[tuple[int, int, Request]] = []
        self._count = itertools.count()

    @override
    def __repr__(self) -> str:
        return f"<ResourceManager of {self.quota}>"

    def can_never_fit(self, cost: Resources) -> str | None:
        """Name the amount that is larger than the whole quota's; None if it may fit some time."""
        return cost.exceeding(self.quota)

    def in_use(self, window: float, time: float) -> Resources:
        """Give what is in use now, launches of the last ``window`` seconds included where they are counted."""
        recent = None if self.quota.launches is None else self._recent(window, time)
        return Resources(self.used.cpu, self.used.mem, recent)

    def lacking(self, request: Request, time: float) -> str | None:
        """Name what a request would wait for, or waits for. ``time`` is in seconds."""
        lacking = self._lacking(request, time)
        if lacking is None and self._waiting and self._waiting[0][0] < -request.priority:
            return "a job of higher priority"
        return lacking

    def request(self, request: Request, time: float) -> str | None:
        """Reserve what a request needs, or let it wait and name what it waits for. ``time`` is in seconds."""
        lacking = self.lacking(request, time)
        if lacking is None:
            self._grant(request, time)
        else:
            bisect.insort(self._waiting, (-request.priority, next(self._count), request))
        return lacking

    def reserve(self, request: Request) -> None:
        """Reserve what a run needs that is live already, whether it fits or not."""
        self.used += _held(request.cost)

    def release(self, request: Request, time: float) -> None:
        """Give back what a granted request needed, and grant others."""
        self.used -= _held(request.cost)
        self.look(time)

    def withdraw(self, request: Request) -> None:
        """Forget a request that waits."""
        self._waiting = [entry for entry in self._waiting if entry[2] is not request]

    def look(self, time: float) -> None:
        """Grant the requests that fit now."""
        # From a lower priority than this on, nothing is granted any more.
        floor: int | None = None
        granted: list[Request] = []
        still: list[tuple[int, int, Request]] = []
        for entry in self._waiting:
            request = entry[2]
            if (floor is not None and request.priority < floor) or self._lacking(request, time) is not None:
                floor = request.priority if floor is None else floor
                still.append(entry)
            else:
                self._grant(request, time)
                granted.append(request)
        self._waiting = still
        for request in granted:
            request.granted(request)

    def next_look(self, time: float) -> float | None:
        """Give the seconds until a launch leaves the window that somebody waits for; None if nobody does."""
        windows = [request.window for _, _, request in self._waiting if self._lacking(request, time) == "launches"]
        if not windows or not self._launches:
            return None
        return max(self._launches[0][0] + min(windows) - time, 0.0)

    def _lacking(self, request: Request, time: float) -> str | None:
        wanted = self.used + request.cost
        if self.quota.launches is None:
            return wanted.exceeding(self.quota)
        recent = self._recent(request.window, time)
        return Resources(wanted.cpu, wanted.mem, recent + (request.cost.launches or 1)).exceeding(self.quota)

    def _recent(self, window: float, time: float) -> int:
        return sum(number for begun, number in self._launches if begun > time - window)

    def _grant(self, request: Request, time: float) -> None:
        self.used += _held(request.cost)
        if self.quota.launches is not None:
            while self._launches and self._launches[0][0] <= time - request.window:
                self._launches.popleft()
            self._launches.append((time, request.cost.launches or 1))


def quantity(text: str | float, what: str) -> float:
    """Read one amount; ``what`` names it in errors.

    :raises ConfigurationError: if it is none.
    """
    match = _QUANTITY.fullmatch(str(text).strip())
    unit = _UNITS.get(match[2]) if match else None
    if match is None or unit is None:
        raise ConfigurationError(
            f"{what}: {text!r} is no amount. Write a number, or one with a unit such as 500m or 1Gi."
        )
    return float(match[1]) * unit


def _memory(size: int) -> str:
    """Write a number of bytes as Kubernetes does: ``512Mi``."""
    for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size >= factor:
            return f"{size / factor:.4g}{unit}"
    return str(size)


def _held(cost: Resources) -> Resources:
    """Give what is held while a run is live: all but the launch, which is over."""
    return Resources(cost.cpu, cost.mem)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
