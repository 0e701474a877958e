"""Process pools: which jobs had begun when one breaks, and what takes its place.

A pool breaks when one of its workers is killed, by the kernel for want of memory, say. Everything that was handed to
it is then lost to it, although hardly any of it had begun. So workers mark the jobs that they are at, in memory that
they share with the controller; the others are handed to a new pool.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from ctypes import Array, c_char
from multiprocessing.sharedctypes import RawArray
from typing import Any

from attrs import define, field

from .record import RunRecord
from .worker import Origin, become_worker, run_by_origin

__all__ = ["ANY", "Ledger", "latest", "ledger_of", "run_in_pool", "shut_successors", "successor"]

SIZE = 1 << 17
"""Marks, of one byte each: more than jobs can be handed to a pool at a time."""
ANY = 0
"""The ticket that stands for any job at all."""


@define(eq=False)
class Ledger:
    """What the workers of one pool have begun. It is their initializer, too, and has them die with this process."""

    users: Callable[..., object] | None
    marks: Array[c_char] = field(factory=lambda: RawArray(c_char, SIZE))
    complete: bool = True
    """Whether every worker has it."""
    _next: int = 0

    def __call__(self, *arguments: object) -> None:
        """Make the calling process a worker."""
        global _marks
        become_worker()
        _marks = self.marks
        if self.users is not None:
            self.users(*arguments)

    def ticket(self) -> int:
        """Give the number under which a job is handed to the pool."""
        self._next = self._next % (SIZE - 1) + 1
        self.marks[self._next] = b"\0"
        return self._next

    def has_begun(self, ticket: int) -> bool:
        """Tell whether a worker began the job with this number and did not end it; yes if that is not known."""
        return not self.complete or self.marks[ticket] != b"\0"


_marks: Array[c_char] | None = None
"""Those of the pool that this worker process belongs to."""


def run_in_pool(origin: Origin, ticket: int, job: str) -> RunRecord:
    """Note that a job has begun, run it, and note that it has ended. Called in a worker by the pool.

    :raises ConfigurationError: if the task cannot be found, or cannot work there.
    """
    if _marks is None:
        return run_by_origin(origin, job)
    _marks[ANY] = _marks[ticket] = b"\1"
    try:
        return run_by_origin(origin, job)
    finally:
        # If the pool breaks before the record has left it, the job is run again rather than said to be lost.
        _marks[ticket] = b"\0"


def ledger_of(executor: Executor) -> Ledger | None:
    """Give the ledger of a process pool; None for any other executor.

    A pool offers no hook after it was made, so its initializer is wrapped. Workers that run already have none.
    """
    if not isinstance(executor, ProcessPoolExecutor):
        return None
    ledger = executor._initializer
    if not isinstance(ledger, Ledger):
        executor._initializer = ledger = Ledger(executor._initializer, complete=not executor._processes)
    return ledger


_successors: weakref.WeakKeyDictionary[Executor, ProcessPoolExecutor] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def latest(executor: Executor) -> Executor:
    """Give the pool that took the place of a broken one, or the executor itself."""
    while (following := _successors.get(executor)) is not None:
        executor = following
    return executor


def successor(broken: Executor) -> ProcessPoolExecutor | None:
    """Make a pool like a broken one, for all tasks that use it. None if it broke before it began anything."""
    with _lock:
        made = _successors.get(broken)
        ledger = ledger_of(broken)
        if made is not None or ledger is None or not ledger.has_begun(ANY):
            return made
        # What a pool was made with is not public.
        of: Any = broken
        made = _successors[broken] = ProcessPoolExecutor(
            of._max_workers,
            of._mp_context,
            ledger.users,
            of._initargs,
            max_tasks_per_child=of._max_tasks_per_child,
        )
        return made


def shut_successors(executor: Executor) -> None:
    """Shut down the pools that took the place of an executor, and wait for their workers."""
    while (following := _successors.pop(executor, None)) is not None:
        following.shutdown()
        executor = following
