"""When failed runs are tried again, in simulated time, and what a store that fails meanwhile changes of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from pydatatask_core import (
    ExecutorTask,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Retries,
    Session,
    StoreUnavailableError,
    Task,
)
from pydatatask_core.task.policy import spelled
from pydatatask_core.testing import Fail, Faults, always, faulty, nth, simulate


def inputs(*jobs: str) -> InProcessMetadataRepository:
    return InProcessMetadataRepository({job: {} for job in jobs})


def run(*tasks: Task, **options: Any) -> None:
    async def main() -> None:
        async with Pipeline(tasks, Session()) as pipeline:
            await pipeline.run(**options)

    simulate(main)


def failing(times: int, begun: list[float]) -> Callable[[str], Awaitable[None]]:
    """Give a function that fails so many times, and notes when."""

    async def fails(job: str) -> None:
        begun.append(asyncio.get_running_loop().time())
        if len(begun) <= times:
            raise ValueError(f"attempt {len(begun)}")

    return fails


def test_the_delay_grows_by_its_factor_up_to_the_longest() -> None:
    begun: list[float] = []
    done = InProcessMetadataRepository()
    retries = Retries(6, delay=10, factor=3, longest=100, jitter=0)
    task = InProcessSyncTask("task", done, func=failing(6, begun), retries=retries)
    task.link("source", inputs("a"), is_input=True)
    run(task)
    assert [round(later - earlier) for earlier, later in pairwise(begun)] == [10, 30, 90, 100, 100, 100]
    assert (done.data["a"]["result"], done.data["a"]["attempt"]) == ("success", 7)
    assert [earlier["attempt"] for earlier in done.data["a"]["attempts"]] == [1, 2, 3, 4, 5, 6]


def test_jitter_spreads_delays_by_its_share_at_most() -> None:
    begun: dict[str, list[float]] = {}

    async def fails_once(job: str) -> None:
        begun.setdefault(job, []).append(asyncio.get_running_loop().time())
        if len(begun[job]) == 1:
            raise ValueError(job)

    retries = Retries(1, delay=100, jitter=0.5)
    task = InProcessSyncTask("task", InProcessMetadataRepository(), func=fails_once, retries=retries)
    task.link("source", inputs(*(f"j{number}" for number in range(50))), is_input=True)
    run(task)
    delays = [later - earlier for earlier, later in begun.values()]
    assert len(delays) == 50
    assert min(delays) >= 100
    assert max(delays) <= 150.1
    assert max(delays) - min(delays) > 10


def test_a_round_that_starts_only_what_is_ready_tries_it_again_too() -> None:
    begun: list[float] = []
    done = InProcessMetadataRepository()
    task = InProcessSyncTask("task", done, func=failing(2, begun), retries=Retries(2, delay=10, jitter=0))
    task.link("source", inputs("a"), is_input=True)
    run(task, launch_once=True)
    assert (done.data["a"]["result"], done.data["a"]["attempt"]) == ("success", 3)


def test_a_failing_done_store_loses_no_record_and_does_not_stop_the_others() -> None:
    faults = Faults(always(Fail(StoreUnavailableError("down")), "dump"))
    stored = InProcessMetadataRepository()
    starts: list[str] = []
    ended: list[float] = []

    async def notes(job: str) -> None:
        starts.append(job)

    async def takes_a_second(job: str) -> None:
        await asyncio.sleep(1)
        ended.append(asyncio.get_running_loop().time())
        if len(ended) == 100:
            faults.plan = None

    one = InProcessSyncTask("one", faulty(stored, faults), func=notes)
    one.link("source", inputs(*(f"j{number}" for number in range(40))), is_input=True)
    other = InProcessSyncTask("other", InProcessMetadataRepository(), func=takes_a_second, max_concurrent=1)
    other.link("source", inputs(*(f"j{number}" for number in range(100))), is_input=True)
    run(one, other)
    assert ended[-1] == pytest.approx(100, abs=1)
    assert sorted(starts) == sorted(stored.data)
    assert len(starts) == 40
    assert {record["attempt"] for record in stored.data.values()} == {1}


@pytest.mark.parametrize("verb", ["dump", "delete"])
def test_an_attempts_store_that_fails_for_a_while_loses_no_attempt(verb: str) -> None:
    begun: list[float] = []
    done, kept = InProcessMetadataRepository(), InProcessMetadataRepository()
    faults = Faults(nth(0, Fail(StoreUnavailableError("down")), verb))
    task = InProcessSyncTask(
        "task",
        done,
        func=failing(5, begun),
        retries=Retries(2, delay=10, jitter=0),
        attempts=faulty(kept, faults),
    )
    task.link("source", inputs("a"), is_input=True)
    run(task)
    assert len(begun) == 3
    assert (done.data["a"]["result"], done.data["a"]["attempt"]) == ("failure", 3)
    assert kept.data == {}


@pytest.mark.parametrize("late", [False, True])
async def test_a_thread_that_outlives_its_controller_is_adopted_by_the_next_one(late: bool) -> None:
    starts: list[str] = []
    begun, release = threading.Event(), threading.Event()

    async def waits(job: str) -> None:
        starts.append(job)
        begun.set()
        await asyncio.to_thread(release.wait)

    done = InProcessMetadataRepository()
    with ThreadPoolExecutor(1) as one:
        task = ExecutorTask("task", one, done, func=waits)
        task.link("source", inputs("a", "b"), is_input=True)
        async with asyncio.timeout(20), Pipeline([task], Session()) as pipeline:
            first = asyncio.ensure_future(pipeline.run())
            await asyncio.to_thread(begun.wait)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert len(task.live.futures) == 1
            if late:
                release.set()
            second = asyncio.ensure_future(pipeline.run())
            await asyncio.sleep(0)
            release.set()
            await second
    assert sorted(starts) == ["a", "b"]
    assert {record["result"] for record in done.data.values()} == {"success"}
    assert not task.live.futures


@pytest.mark.parametrize(
    ("duration", "words"),
    [(0.0, "0"), (0.25, "0.25"), (10.0, "10"), (1_000_000.0, "1000000"), (1_234_567.8, "1234567.8")],
)
def test_every_sleep_understands_how_durations_are_spelled(duration: float, words: str) -> None:
    assert spelled(duration) == words
