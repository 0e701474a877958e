"""What trips to worker threads promise to those who await them, or stop awaiting them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pydatatask_repos_filesystem.trips import Trip, alone, shared

Travel = Callable[[Callable[[], Any], Callable[[Any], None] | None], Trip[Any]]
both = pytest.mark.parametrize("travel", [shared, alone])


@both
async def test_work_is_done_in_another_thread_and_its_result_is_given(travel: Travel) -> None:
    here = threading.get_ident()
    assert await travel(threading.get_ident, None) != here
    assert await asyncio.gather(*[_await(travel(partial(int, n), None)) for n in range(100)]) == list(range(100))


async def _await(trip: Trip[Any]) -> Any:
    return await trip


@both
async def test_what_work_raises_is_raised_where_it_is_awaited(travel: Travel) -> None:
    after: list[object] = []
    with pytest.raises(ZeroDivisionError):
        await travel(lambda: 1 / 0, after.append)
    assert after == []


@both
async def test_a_cancelled_task_ends_when_its_work_has_ended(travel: Travel) -> None:
    begun, release = threading.Event(), threading.Event()
    steps: list[str] = []

    def work() -> str:
        begun.set()
        assert release.wait(20)
        steps.append("work ended")
        return "result"

    async def wait() -> None:
        try:
            await travel(work, lambda result: steps.append(f"after {result}"))
        finally:
            steps.append("task ended")

    task = asyncio.create_task(wait())
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["work ended", "after result", "task ended"]


@both
async def test_a_cancelled_task_hears_of_its_cancellation_and_not_of_the_error(travel: Travel) -> None:
    release = threading.Event()

    def work() -> None:
        assert release.wait(20)
        raise ZeroDivisionError

    task = asyncio.create_task(_await(travel(work, None)))
    await asyncio.sleep(0)
    task.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_is_begun_at_the_same_time_shares_a_trip_in_order() -> None:
    order: list[int] = []

    def work(n: int) -> int:
        order.append(n)
        return threading.get_ident()

    threads = await asyncio.gather(*[_await(shared(partial(work, n))) for n in range(50)])
    assert order == list(range(50))
    assert len(set(threads)) == 1


async def test_long_work_does_not_hold_up_short_work() -> None:
    release = threading.Event()
    long = [alone(lambda: release.wait(20)) for _ in range(20)]
    async with asyncio.timeout(20):
        assert await shared(lambda: "short") == "short"
    release.set()
    assert all([await trip for trip in long])


def test_the_threads_of_a_loop_end_with_it() -> None:
    async def use() -> None:
        await shared(int)
        await alone(int)

    def ours() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("pydatatask-files")]

    gc.collect()
    before = set(ours())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    threads = set(ours()) - before
    assert len(threads) == 2
    loop.close()
    gone = weakref.ref(loop)
    del loop
    deadline = time.monotonic() + 60
    # A thread that has just told its last result may still be about to let go of the loop.
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
    assert gone() is None
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_a_loop_that_is_closed_under_its_work_still_has_it_told_to_others() -> None:
    begun, release, told = threading.Event(), threading.Event(), threading.Event()
    trips: list[Trip[None]] = []

    def work() -> None:
        begun.set()
        release.wait(20)

    async def leave() -> None:
        trips.append(alone(work, lambda _: told.set()))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    assert begun.wait(20)
    loop.close()
    release.set()
    assert told.wait(20)
