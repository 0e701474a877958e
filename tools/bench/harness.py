"""How a case is measured: CPU time, the median of five, beside a bare loop that does the same work by hand.

CPU time, and not the clock on the wall, because shared cores belong to others half of the time. The bare loop is
measured in the same process and in turns with the real thing, so that both meet the same machine.
"""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["REPEATS", "Case", "Figures", "Lap", "Memory", "Run", "compare", "cpu_seconds", "measured"]

REPEATS = 5

Figures = Mapping[str, float | int | str]
"""What a case found, by name; the unit is in the name."""


@dataclass(frozen=True)
class Case:
    """Something that is measured."""

    name: str
    target: str
    """What the project promises itself, in words."""
    measure: Callable[[], Coroutine[None, None, Figures]]
    """Runs alone in a process of its own."""


class Lap:
    """One repetition: an empty folder, and the stopwatch for the part that counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cpu_seconds = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the CPU time of the block, threads and ended child processes included."""
        gc.collect()
        began = cpu_seconds()
        yield
        self.cpu_seconds += cpu_seconds() - began


Run = Callable[[Lap], Coroutine[None, None, None]]
"""Prepares, does the work once within ``lap.timed()``, and cleans up."""


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def measured(run: Run) -> float:
    """Do one repetition and give its CPU time in seconds."""
    with tempfile.TemporaryDirectory(prefix="pydatatask-bench-") as folder:
        lap = Lap(Path(folder))
        await run(lap)
    return lap.cpu_seconds


async def compare(amount: int, ours: Run, bare: Run) -> dict[str, float | int | str]:
    """Measure both in turns and give rates for ``amount`` pieces of work, and the ratio of ours to the bare loop.

    A ratio of 1 means as fast as the bare loop, 0.5 half as fast.
    """
    times: dict[Run, list[float]] = {ours: [], bare: []}
    for repeat in range(REPEATS):
        for run in (ours, bare):
            times[run].append(await measured(run))
            sys.stderr.write(f"  {run.__name__} {repeat + 1}/{REPEATS}: {times[run][-1]:.3f} s\n")
    our_time, bare_time = statistics.median(times[ours]), statistics.median(times[bare])
    return {
        "amount": amount,
        "per_cpu_second": round(amount / our_time),
        "bare_per_cpu_second": round(amount / bare_time),
        "ratio": round(bare_time / our_time, 3),
    }


class Memory:
    """Resident memory of this process above what it is now, in MiB."""

    def __init__(self) -> None:
        gc.collect()
        self._start = _status("VmRSS")
        self._forget()

    def peak_mib(self) -> float:
        """Give the highest value since the start or since this was last asked."""
        peak = _status("VmHWM") - self._start
        self._forget()
        return round(peak / 1024, 1)

    def _forget(self) -> None:
        # The kernel starts to look for the highest value anew.
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise LookupError(f"/proc/self/status has no {field}")
