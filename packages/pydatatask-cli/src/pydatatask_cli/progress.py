"""What a run tells: each failure as it happens, now and then how far it is, and in the end what it did."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from attrs import frozen
from pydatatask_core.pipeline.controller import Controller, TaskProgress
from pydatatask_core.pipeline.events import Event, Finished, Retrying, StoreBack
from pydatatask_core.task.base import Task
from pydatatask_core.task.record import RunRecord

from . import output
from .counting import Counter

__all__ = ["Progress", "TaskRow", "duration", "ending", "first_line", "plain_ticks", "ticking"]

MOST_FAILURES = 50
"""Failures of one task that are shown one by one."""

QUIET = 10.0
"""Seconds between two plain lines about how far a run is."""

WINDOW = 10.0
"""Seconds over which a rate is measured."""


@frozen
class TaskRow:
    """How far one task is, now."""

    name: str
    waiting: int
    ready: int
    live: int
    retrying: int
    done: int
    failed: int
    rate: float
    """Runs that ended per second, lately."""


class Progress:
    """Observes one run, and knows what to tell of it."""

    def __init__(self, tasks: Mapping[str, Task], controller: Callable[[], Controller | None]) -> None:
        """``controller`` gives the run's controller as long as it runs."""
        self._controller = controller
        self._counter = Counter(tasks)
        self._seen: Controller | None = None
        self._failures: dict[str, int] = {}
        self._began = time.monotonic()
        self._samples = deque[tuple[float, dict[str, int]]]([(self._began, {})])

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def __call__(self, event: Event) -> None:
        """Take an event of the controller. What it logs itself is not told again."""
        if self._seen is None:
            self._seen = self._controller()
        kind = type(event)
        if kind is Finished:
            assert isinstance(event, Finished)
            if event.record.result != "success":
                self._tell_failure(event)
        elif kind is Retrying:
            assert isinstance(event, Retrying)
            self._tell_retry(event)
        elif kind is StoreBack:
            assert isinstance(event, StoreBack)
            output.narrate(f"{event.location} answers again.")

    def rows(self) -> list[TaskRow]:
        """Tell how far each task is; nothing before the run has begun."""
        controller = self._controller()
        if controller is None:
            return []
        progress = controller.progress()
        rates = self._rates({task.name: task.succeeded + task.failed for task in progress})
        counts = self._counter.recent(controller)
        return [
            TaskRow(
                task.name,
                counts[task.name].waiting,
                # Jobs that run or wait for their retry are ready as well, as far as their stores tell.
                max(counts[task.name].ready - task.live - task.waiting, 0),
                task.live,
                task.waiting,
                task.succeeded,
                task.failed + task.could_not_start,
                rates.get(task.name, 0.0),
            )
            for task in progress
        ]

    def _rates(self, ended: dict[str, int]) -> dict[str, float]:
        now = time.monotonic()
        self._samples.append((now, ended))
        while len(self._samples) > 2 and self._samples[1][0] < now - WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        passed = now - then
        return {name: (count - before.get(name, 0)) / passed if passed else 0.0 for name, count in ended.items()}

    def _count_failure(self, task: str) -> int:
        self._failures[task] = count = self._failures.get(task, 0) + 1
        return count

    def _tell_failure(self, event: Finished) -> None:
        shown = self._count_failure(event.task)
        if shown <= MOST_FAILURES:
            output.complain(f"{event.task} {event.job}: {ending(event.record)}")
        if shown == MOST_FAILURES:
            output.narrate(f"{event.task}: further failures are counted, and no longer shown one by one.")

    def _tell_retry(self, event: Retrying) -> None:
        if self._count_failure(event.task) <= MOST_FAILURES:
            output.narrate(
                f"{event.task} {event.job}: attempt {event.record.attempt}: {ending(event.record)}"
                f" - next attempt in {duration(event.delay)}"
            )

    def summary_so_far(self) -> list[str]:
        """Say what a run did that was cut short; nothing if it did nothing."""
        return [] if self._seen is None or not _has_begun(self._seen) else self.summary(self._seen)

    def summary(self, controller: Controller) -> list[str]:
        """Say what the run did and what it left: a line for each task that did something or has jobs that wait."""
        counts = self._counter.now(controller)
        told = [
            _did(task, counts[task.name].waiting)
            for task in controller.progress()
            if task.launched or task.could_not_start or counts[task.name].waiting
        ]
        if not _has_begun(controller):
            return ["Nothing to do.", *told]
        return [*told, f"Took {duration(self.elapsed)}."]


def _has_begun(controller: Controller) -> bool:
    return any(task.launched or task.could_not_start for task in controller.progress())


def _did(task: TaskProgress, waiting: int) -> str:
    ended = task.succeeded + task.failed
    attempts = "attempts" if task.launched > 1 else "attempt"
    counts = (
        (task.succeeded, "done"),
        (task.failed, "failed"),
        (task.could_not_start, "could not be run"),
        # Attempts that were followed by another one, or cut short.
        (task.launched if task.launched > ended + task.could_not_start else 0, attempts),
        (waiting, f"waiting (see: why {task.name})"),
    )
    return f"{task.name}: {', '.join(f'{count:,} {what}' for count, what in counts if count)}"


def ending(record: RunRecord) -> str:
    """Say how a run ended: ``done``, ``timed out``, ``failed (exit code 3)``."""
    if record.succeeded:
        return "done"
    if record.result == "timeout":
        return "timed out"
    what = "failed" if record.result == "failure" else record.result
    cause = f" ({record.cause})" if record.cause not in {None, record.result} else ""
    if record.return_code is not None:
        cause = f" (exit code {record.return_code})"
    return f"{what}{cause}: {first_line(record.exception)}" if record.exception else f"{what}{cause}"


def first_line(text: str) -> str:
    """Give the first line of a text."""
    return text.strip().partition("\n")[0]


def duration(seconds: float) -> str:
    """Say a number of seconds as people do: ``0.4 s``, ``12 s``, ``3:05 min``, ``2:15:00 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


@asynccontextmanager
async def ticking(every: float, tick: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``tick`` every so many seconds while the block goes on."""

    async def ticks() -> None:
        while True:
            await asyncio.sleep(every)
            tick()

    task = asyncio.create_task(ticks())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def plain_ticks(progress: Progress) -> Callable[[], None]:
    """Give a tick that narrates how far the run is, if that changed."""
    last = ""

    def tick() -> None:
        nonlocal last
        told = "; ".join(_row(row) for row in progress.rows() if row.live or row.ready or row.done or row.failed)
        if told and told != last:
            output.narrate(f"[{duration(progress.elapsed)}] {told}")
            last = told

    return tick


def _row(row: TaskRow) -> str:
    parts = [f"{row.done:,} done"]
    for count, what in ((row.failed, "failed"), (row.retrying, "retrying"), (row.live, "live"), (row.ready, "ready")):
        if count:
            parts.append(f"{count:,} {what}")
    return f"{row.name}: {', '.join(parts)}, {row.rate:.1f}/s"
