"""The longest time that a run may take, with many runs under one timer, in simulated time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from pydatatask_core.task.deadlines import Limit
from pydatatask_core.task.function import call
from pydatatask_core.task.record import RunRecord
from pydatatask_core.testing import SimulatedLoop, simulate


def time() -> float:
    return asyncio.get_running_loop().time()


def current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def limited(allowed: float, duration: float) -> float | None:
    """Wait so long, and give when that was cut short."""
    with Limit(allowed, current()) as limit:
        try:
            await asyncio.sleep(duration)
        except asyncio.CancelledError:
            return time()
    assert not limit.expired
    return None


def test_each_run_is_cancelled_when_its_own_time_is_over_and_no_other_is() -> None:
    async def later(delay: float, allowed: float, duration: float) -> float | None:
        await asyncio.sleep(delay)
        return await limited(allowed, duration)

    async def main() -> list[float | None]:
        return await asyncio.gather(
            later(0, 10, 100),
            later(1, 10, 5),
            later(2, 10, 100),
            later(3, 1, 100),
            later(4, 10, 10.5),
            later(50, 10, 100),
            limited(100, 70),
        )

    assert simulate(main) == [10, None, 12, 4, 14, 60, None]


def test_runs_one_after_another_share_one_timer() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        timers = 0
        call_at = loop.call_at

        def counted(*arguments: object, **options: object) -> asyncio.TimerHandle:
            nonlocal timers
            timers += 1
            return call_at(*arguments, **options)  # type: ignore[arg-type]  # passed on as it came

        loop.call_at = counted  # type: ignore[method-assign]  # looked at, not replaced
        for _ in range(1000):
            await limited(60, 0)
        return timers

    assert simulate(main) == 1


def test_what_follows_a_run_that_was_cut_short_is_not_cancelled() -> None:
    async def main() -> list[float | None]:
        first = await limited(1, 10)
        assert current().cancelling() == 0
        await asyncio.sleep(10)
        return [first, await limited(1, 10), await limited(1, 0.5)]

    assert simulate(main) == [1, 12, None]


def record_of(function: Callable[[str], Awaitable[None]], allowed: float) -> RunRecord:
    async def main() -> RunRecord:
        record = await call(function, "job", allowed)
        assert current().cancelling() == 0
        await asyncio.sleep(0)
        return record

    return simulate(main)


def test_a_function_that_swallows_its_cancellation_timed_out() -> None:
    async def stubborn(job: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        await asyncio.sleep(10)

    async def indifferent(job: str) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    assert record_of(indifferent, 1).result == "timeout"
    record = record_of(stubborn, 1)
    assert (record.result, record.cause) == ("timeout", "timeout")
    assert (record.end_time - record.start_time).total_seconds() == 11


def test_a_function_that_fails_because_it_was_cancelled_timed_out() -> None:
    async def clumsy(job: str) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise ValueError

    assert record_of(clumsy, 1).result == "timeout"


def test_a_function_that_never_let_the_loop_turn_timed_out_unless_it_failed() -> None:
    def work() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.elapsed += 10

    async def hog(job: str) -> None:
        work()

    async def failing_hog(job: str) -> None:
        work()
        raise ValueError

    assert record_of(hog, 10).result == "success"
    assert record_of(hog, 9).result == "timeout"
    assert record_of(failing_hog, 9).cause == "exception"


def test_a_timeout_of_its_own_is_the_functions_failure_or_not_and_no_timeout_of_the_run() -> None:
    async def caught(job: str) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.sleep(10)

    async def uncaught(job: str) -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(10)

    assert record_of(caught, 2).result == "success"
    assert record_of(uncaught, 2).cause == "exception"


def test_a_function_whose_own_timeout_ends_at_the_same_moment_timed_out() -> None:
    async def both(job: str) -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(10)

    assert record_of(both, 1).result == "timeout"


def test_a_cancellation_from_outside_is_no_timeout_even_when_the_time_is_over_too() -> None:
    async def main() -> None:
        async def slow(job: str) -> None:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(10)

        running = asyncio.ensure_future(call(slow, "job", 5))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    simulate(main)


def test_the_other_runs_of_a_task_go_on_when_one_takes_too_long() -> None:
    async def main() -> dict[str, str]:
        jobs = {f"job{seconds}": seconds for seconds in range(10)}
        done = InProcessMetadataRepository()

        async def work(job: str) -> None:
            await asyncio.sleep(jobs[job])

        task = InProcessSyncTask("t", done, func=work, timeout=4.5, max_concurrent=3)
        task.link("source", InProcessMetadataRepository(dict(jobs)), is_input=True)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()
        return {job: record["result"] for job, record in done.data.items()}

    assert simulate(main) == {f"job{n}": "success" if n < 4.5 else "timeout" for n in range(10)}
