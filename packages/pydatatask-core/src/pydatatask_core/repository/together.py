"""Several requests at the same time, as one: the first failure ends the others and is raised as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TypeVar

__all__ = ["together"]

T = TypeVar("T")


async def together(requests: Iterable[Coroutine[None, None, T]], at_once: int) -> list[T]:
    """Run the coroutines, at most ``at_once`` at a time, and give their results in order.

    The first to fail cancels those that run, and its error is raised after they ended. So does cancellation. Those
    that did not begin never do.
    """
    results: dict[int, T] = {}
    waiting = enumerate(requests)

    async def work() -> None:
        for index, request in waiting:
            results[index] = await request

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        # The group waited for all and holds what failed first, first.
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
    return [results[index] for index in range(len(results))]
