"""When a run of a pipeline ends: what it waits for, and what a stop or a cancellation leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Retries,
    Session,
)
from pydatatask_core.pipeline.events import Event, Finished
from pydatatask_core.testing import simulate
from switched import Switched


def source(*jobs: str) -> InProcessMetadataRepository:
    return InProcessMetadataRepository({job: {} for job in jobs})


def task(name: str, func: Callable[[str], Awaitable[None]], *jobs: str, failure_ok: bool = False) -> InProcessSyncTask:
    made = InProcessSyncTask(name, InProcessMetadataRepository(), func=func, failure_ok=failure_ok)
    made.link("source", source(*jobs), is_input=True)
    return made


async def fail(job: str) -> None:
    await asyncio.sleep(1)
    raise ValueError("It fails.")


async def nothing(job: str) -> None:
    pass


def results(*tasks: InProcessSyncTask) -> list[dict[str, str]]:
    found = []
    for one in tasks:
        assert isinstance(one.done, InProcessMetadataRepository)
        found.append({job: record["result"] for job, record in one.done.data.items()})
    return found


def test_what_a_cancelled_run_gives_back_of_a_quota_starts_nothing_in_another_task() -> None:
    manager, began = ResourceManager(Resources(1.0, 0)), []

    async def tidy(job: str) -> None:
        began.append(job)
        try:
            await asyncio.sleep(1e6)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)

    tasks = [
        InProcessSyncTask(
            name,
            InProcessMetadataRepository(),
            func=tidy,
            resource_manager=manager,
            job_resources=Resources(1.0, 0),
            priority=priority,
        )
        for name, priority in (("first", 1), ("second", 0), ("third", 0))
    ]
    for task in tasks:
        task.link("source", source(task.name), is_input=True)

    async def main() -> None:
        async with Pipeline(tasks, Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            while not began:
                await asyncio.sleep(1)
            running.cancel()
            await asyncio.wait({running})

    simulate(main)
    assert began == ["first"]


def test_a_stop_does_not_wait_for_the_next_attempts_of_others() -> None:
    async def fail(job: str) -> None:
        await asyncio.sleep(10 if job == "later" else 1)
        raise ValueError("It fails.")

    retries = Retries(3, delay=1e6, jitter=0)
    again = InProcessSyncTask("again", InProcessMetadataRepository(), func=fail, retries=retries)
    final = InProcessSyncTask("final", InProcessMetadataRepository(), func=fail)
    again.link("source", source("a"), is_input=True)
    final.link("source", source("later"), is_input=True)

    async def main() -> float:
        async with Pipeline([again, final], Session()) as pipeline:
            await pipeline.run(fail_fast=True)
        return asyncio.get_running_loop().time()

    assert simulate(main) < 1000
    assert isinstance(final.done, InProcessMetadataRepository)
    assert final.done.data["later"]["result"] == "failure"


def test_a_cancelled_run_returns_when_its_functions_have_ended() -> None:
    done = []

    async def tidy(job: str) -> None:
        try:
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(5)
            done.append(job)

    task = InProcessSyncTask("task", InProcessMetadataRepository(), func=tidy)
    task.link("source", source("a", "b"), is_input=True)

    async def main() -> list[str]:
        async with Pipeline([task], Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            await asyncio.sleep(100)
            running.cancel()
            await asyncio.wait({running})
            return sorted(done)

    assert simulate(main) == ["a", "b"]


def test_what_an_observer_raises_ends_the_run_though_other_jobs_are_live() -> None:
    async def work(job: str) -> None:
        await asyncio.sleep(1e6 if job == "long" else 1)

    def observe(event: Event) -> None:
        if isinstance(event, Finished):
            raise ZeroDivisionError

    task = InProcessSyncTask("task", InProcessMetadataRepository(), func=work)
    task.link("source", source("long", "short"), is_input=True)

    async def main() -> float:
        async with Pipeline([task], Session()) as pipeline:
            with pytest.raises(ZeroDivisionError):
                await pipeline.run(observers=[observe])
        return asyncio.get_running_loop().time()

    assert simulate(main) < 1000


@pytest.mark.parametrize("failure_ok", [True, False])
def test_a_failure_that_is_ok_does_not_end_a_run_that_is_to_end_with_the_first(failure_ok: bool) -> None:
    async def later(job: str) -> None:
        await asyncio.sleep(10)

    first, second = task("first", fail, "a", failure_ok=failure_ok), task("second", later, "b")
    third = InProcessSyncTask("third", InProcessMetadataRepository(), func=nothing)
    assert second.done is not None
    third.link("source", second.done, is_input=True)

    async def main() -> None:
        async with Pipeline([first, second, third], Session()) as pipeline:
            await pipeline.run(fail_fast=True)

    simulate(main)
    assert results(third) == [{"b": "success"} if failure_ok else {}]


def test_a_stop_leaves_a_store_that_is_down_alone() -> None:
    kept = Switched()
    waiting = task("waiting", nothing, "a")
    waiting.link("kept", kept, is_output=True)

    async def main() -> float:
        async with Pipeline([task("failing", fail, "a"), waiting], Session()) as pipeline:
            await pipeline.run(fail_fast=True)
        return asyncio.get_running_loop().time()

    assert simulate(main) < 20
    assert results(waiting) == [{}]


def test_a_store_is_waited_for_anew_when_the_last_run_has_ended() -> None:
    kept = Switched()

    async def long(job: str) -> None:
        await asyncio.sleep(100)

    waiting = task("waiting", nothing, "a")
    waiting.link("kept", kept, is_output=True)

    async def main() -> None:
        asyncio.get_running_loop().call_at(115, setattr, kept, "error", None)
        async with Pipeline([task("long", long, "a"), waiting], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert results(waiting) == [{"a": "success"}]


def test_a_run_that_goes_on_for_ever_ends_when_it_is_stopped_though_nothing_happens() -> None:
    only = task("only", nothing, "a")

    async def main() -> None:
        async with Pipeline([only], Session()) as pipeline:
            controller = pipeline.make_controller()
            running = asyncio.ensure_future(controller.run(forever=True))
            await asyncio.sleep(1000)
            controller.stop()
            async with asyncio.timeout(1):
                await running

    simulate(main)
    assert results(only) == [{"a": "success"}]
