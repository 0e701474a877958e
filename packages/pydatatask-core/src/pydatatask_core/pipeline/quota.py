"""How much may run at once: cores, memory and launches, shared among tasks."""

from __future__ import annotations

import re
from typing import Self

from attrs import frozen

from ..errors import ConfigurationError

__all__ = ["ResourceManager", "Resources"]

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


class ResourceManager:
    """A quota that tasks share."""

    def __init__(self, quota: Resources) -> None:
        self.quota = quota


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


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
