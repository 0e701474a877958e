"""Requests made together: in order, few at a time, and ended by the first failure."""

from __future__ import annotations

import asyncio

import pytest
from pydatatask_core.repository.together import together


class Requests:
    """Requests that wait until they are let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.go = asyncio.Event()

    async def __call__(self, item: int) -> int:
        self.begun.append(item)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        if item == 13:
            raise LookupError(item)
        return item * 10


async def begun(requests: Requests, number: int) -> None:
    async with asyncio.timeout(60):
        while len(requests.begun) < number:
            await asyncio.sleep(0)


@pytest.mark.parametrize("number", [0, 1, 2, 50])
async def test_results_come_in_order(number: int) -> None:
    async def slower_first(item: int) -> int:
        for _ in range(number - item):
            await asyncio.sleep(0)
        return item * 10

    assert await together(slower_first, range(number), 4) == [item * 10 for item in range(number)]


async def test_no_more_run_at_once_than_allowed() -> None:
    requests = Requests()
    asking = asyncio.create_task(together(requests, range(10), 3))
    await begun(requests, 3)
    for _ in range(10):
        await asyncio.sleep(0)
    assert requests.begun == [0, 1, 2]
    requests.go.set()
    assert len(await asking) == 10


@pytest.mark.parametrize("items", [[13], [1, 13, 2, 3]])
async def test_the_first_failure_is_raised_as_it_is_and_ends_the_others(items: list[int]) -> None:
    requests = Requests()

    async def fail_at_once(item: int) -> int:
        if item == 13:
            raise LookupError(item)
        return await requests(item)

    with pytest.raises(LookupError) as caught:
        await together(fail_at_once, items, 2)
    assert caught.value.args == (13,)
    assert caught.value.__context__ is None
    assert requests.cancelled == requests.begun
    assert set(requests.begun) <= {1}


@pytest.mark.parametrize("items", [[1], [1, 2, 3]])
async def test_cancellation_ends_all(items: list[int]) -> None:
    requests = Requests()
    asking = asyncio.create_task(together(requests, items, 2))
    await begun(requests, min(2, len(items)))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert requests.begun == items[:2]
    assert sorted(requests.cancelled) == requests.begun
