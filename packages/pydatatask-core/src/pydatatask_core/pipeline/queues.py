"""The order in which a task's ready jobs start."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Protocol

from typing_extensions import override

from ..errors import PydatataskError

__all__ = ["FifoQueue", "JobQueue", "Priority", "PriorityQueue", "queue_for"]


class JobQueue(Protocol):
    """Holds ready jobs, in the order in which they are to start."""

    on_append: Callable[[], None] | None
    """Called when a job comes while somebody wants to know."""

    def priority(self, job: str, /) -> int:
        """Give a job's priority."""
        ...

    def fresh(self) -> JobQueue:
        """Give an empty queue of the same order."""
        ...

    def append(self, job: str, /) -> None:
        """Take a job in."""
        ...

    def popleft(self) -> str:
        """Give the next job."""
        ...

    def clear(self) -> None:
        """Forget all jobs."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class Priority:
    """A user's function that gives priorities. Where it fails the priority is 0, and the first failure is kept."""

    def __init__(self, task: str, function: Callable[[str], int]) -> None:
        self.failure: PydatataskError | None = None
        self._task = task
        self._function = function

    def __call__(self, job: str) -> int:
        """Give a job's priority."""
        try:
            return self._function(job)
        except Exception as error:  # noqa: BLE001  # kept, and told; the job starts all the same
            if self.failure is None:
                self.failure = PydatataskError(
                    f"The priority of job {job} of task {self._task} is taken to be 0, because its function failed: "
                    f"{type(error).__name__}: {error}"
                )
                self.failure.__cause__ = error
            return 0


class FifoQueue(deque[str]):
    """Gives jobs in the order in which they came; all have one priority."""

    on_append: Callable[[], None] | None = None

    def __init__(self, of_all: int = 0) -> None:
        super().__init__()
        self._of_all = of_all

    def priority(self, job: str, /) -> int:
        """Give the priority of all jobs."""
        return self._of_all

    def fresh(self) -> JobQueue:
        """Give an empty queue of the same order."""
        return FifoQueue(self._of_all)

    @override
    def append(self, job: str, /) -> None:
        super().append(job)
        if self.on_append is not None:
            self.on_append()


class PriorityQueue:
    """Gives jobs of the highest priority first, those of one priority in the order in which they came."""

    on_append: Callable[[], None] | None = None

    def __init__(self, priority: Callable[[str], int]) -> None:
        self._priority = priority
        self._heap: list[tuple[int, int, str]] = []
        self._count = count()

    def priority(self, job: str, /) -> int:
        """Give a job's priority."""
        return self._priority(job)

    def fresh(self) -> JobQueue:
        """Give an empty queue of the same order."""
        return PriorityQueue(self._priority)

    def append(self, job: str, /) -> None:
        """Take a job in."""
        heapq.heappush(self._heap, (-self._priority(job), next(self._count), job))
        if self.on_append is not None:
            self.on_append()

    def popleft(self) -> str:
        """Give the next job."""
        return heapq.heappop(self._heap)[2]

    def clear(self) -> None:
        """Forget all jobs."""
        self._heap.clear()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[str]:
        return (job for _, _, job in self._heap)


def queue_for(priority: int | Callable[[str], int]) -> JobQueue:
    """Make the queue for jobs of one priority, or of priorities that a function gives."""
    return PriorityQueue(priority) if callable(priority) else FifoQueue(priority)
