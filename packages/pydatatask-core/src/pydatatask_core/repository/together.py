"""Many requests at the same time, as one: the first failure ends the others and is raised as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["together"]

S = TypeVar("S")
T = TypeVar("T")


async def together(request: Callable[[S], Awaitable[T]], items: Sequence[S], at_once: int) -> list[T]:
    """Await ``request`` of each item, at most ``at_once`` of them at a time, and give the results in order.

    When one fails, or this is cancelled, the requests that run are cancelled and no other begins; the error is
    raised after all have ended.
    """
    if len(items) == 1:
        return [await request(items[0])]
    results: dict[int, T] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for index, item in waiting:
            results[index] = await request(item)

    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(items))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        failure = failures.exceptions[0]
    if failure is not None:
        # Raised here, where the group that held it is not its context.
        raise failure
    return [results[index] for index in range(len(items))]
