"""Jobs of which somebody wants no other attempt, on a site in memory and in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import evolve
from pydatatask_core import InProcessMetadataRepository, Pipeline, Retries, Session
from pydatatask_core.clock import now
from pydatatask_core.runs.site import Phase, RunName
from pydatatask_core.task.run import Ended
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask

FIRST = RunName("task", "job", 1)


def failing_task(count: int = 3) -> tuple[Shed, ShedTask]:
    shed = Shed()
    shed.on_start = lambda run: shed.end(run, "failure", "exit")
    task = ShedTask(shed, InProcessMetadataRepository(), retries=Retries(count, delay=100, jitter=0))
    return shed, task


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(1000):
        while not found():
            await asyncio.sleep(0.01)


async def left_behind(shed: Shed, task: ShedTask) -> None:
    """Have an earlier controller's first attempt fail."""
    await shed.claim(FIRST, task.owner, "made")
    shed.end(FIRST, "failure", "exit")


def summary(task: ShedTask) -> tuple[object, ...]:
    assert isinstance(task.done, InProcessMetadataRepository)
    record = task.done.data["job"]
    return record["result"], record["cause"], record["attempt"], len(record.get("attempts", ()))


def test_a_job_that_waits_for_its_next_attempt_can_be_cancelled() -> None:
    shed, task = failing_task()

    async def main() -> None:
        async with Pipeline([task], Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            await until(lambda: FIRST in shed.runs and shed.runs[FIRST].phase is Phase.ENDED)
            await asyncio.sleep(10)
            assert await task.end("job", "cancelled")
            await running

    simulate(main)
    assert summary(task) == ("cancelled", "cancelled", 1, 0)
    assert task.out.data == {"job": b"output 1"}
    assert (shed.asked_for("claim"), shed.runs) == ([FIRST], {})


def test_without_a_controller_it_is_cancelled_too() -> None:
    shed, task = failing_task()

    async def main() -> object:
        await left_behind(shed, task)
        assert await task.end("job", "cancelled")
        await task.live_jobs()
        try:
            return await task.run("job")
        finally:
            await task.released()

    assert isinstance(simulate(main), Ended)
    assert summary(task) == ("cancelled", "cancelled", 1, 0)


def test_a_run_that_fails_by_itself_as_it_is_cancelled_is_not_tried_again() -> None:
    shed, task = failing_task()

    def fail_while_cancelled(run: RunName) -> None:
        shed.begin(run)
        failed = evolve(shed.runs[run], phase=Phase.ENDED, result="failure", cause="exit", end_time=now())
        shed.put(evolve(failed, cancellation="cancelled"))

    shed.on_start = fail_while_cancelled

    async def main() -> None:
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert summary(task) == ("cancelled", "cancelled", 1, 0)


def test_what_waits_for_no_attempt_cannot_be_cancelled_nor_a_waiting_job_be_dropped() -> None:
    shed, task = failing_task(count=0)

    async def main() -> None:
        await left_behind(shed, task)
        assert not await task.end("job", "cancelled")
        other = ShedTask(shed, task.done, retries=Retries(1))
        assert not await other.end("job", "dropped")
        assert await other.end("job", "cancelled")

    simulate(main)
