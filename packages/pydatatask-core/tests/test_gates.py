"""Nothing of a task starts before all that it waits for is there, nor after somebody wants the end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

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
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.pipeline.events import Event, Finished
from pydatatask_core.runs.site import RunName
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask
from switched import Switched
from typing_extensions import override


class Unseen(InProcessSyncTask):
    """A task whose site answers from a moment of the loop's time on."""

    answers_at = 0.0

    @override
    async def live_jobs(self) -> Collection[str]:
        if asyncio.get_running_loop().time() < self.answers_at:
            raise SiteUnavailableError("Nobody answers.")
        return ()


def source(*jobs: str) -> InProcessMetadataRepository:
    return InProcessMetadataRepository({job: {} for job in jobs})


def switch_on_at(time: float, store: Switched) -> None:
    asyncio.get_running_loop().call_at(time, setattr, store, "error", None)


@pytest.mark.parametrize(("site", "store"), [(14.0, 6.0), (6.0, 14.0)], ids=["store-first", "site-first"])
def test_a_task_that_waits_for_its_site_and_a_store_waits_for_both(site: float, store: float) -> None:
    kept, began = Switched({"a": {}}), []

    async def note(job: str) -> None:
        began.append(asyncio.get_running_loop().time())

    task = Unseen("task", InProcessMetadataRepository(), func=note)
    task.link("kept", kept, is_input=True)
    task.answers_at = site

    async def main() -> None:
        switch_on_at(store, kept)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert len(began) == 1
    assert began[0] >= max(site, store)


def test_a_store_that_comes_up_after_a_stop_starts_nothing() -> None:
    kept, began = Switched({"a": {}}), []

    async def long(job: str) -> None:
        await asyncio.sleep(1000)

    async def fail(job: str) -> None:
        raise ValueError("It fails.")

    async def note(job: str) -> None:
        began.append(job)

    tasks = [
        InProcessSyncTask(name, InProcessMetadataRepository(), func=func)
        for name, func in (("long", long), ("failing", fail), ("late", note))
    ]
    for task, repo in zip(tasks, (source("a"), source("a"), kept), strict=True):
        task.link("source", repo, is_input=True)

    async def main() -> None:
        switch_on_at(100, kept)
        async with Pipeline(tasks, Session()) as pipeline:
            await pipeline.run(fail_fast=True)

    simulate(main)
    assert kept.error is None
    assert began == []


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


@pytest.mark.parametrize("link", [{"is_input": True}, {"is_output": True}], ids=str)
def test_an_adopted_run_that_fails_while_its_task_waits_for_a_store_is_tried_again_afterwards(
    link: dict[str, bool],
) -> None:
    shed, kept = Shed(), Switched({"job": {}} if "is_input" in link else {})
    task = ShedTask(shed, InProcessMetadataRepository(), retries=Retries(1, delay=1, jitter=0))
    task.link("kept", kept, **link)
    first = RunName("task", "job", 1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await shed.claim(first, task.owner, "made")
        shed.begin(first)
        loop.call_at(10, shed.end, first, "failure", "exit")
        switch_on_at(20, kept)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert isinstance(task.done, InProcessMetadataRepository)
    assert (task.done.data["job"]["result"], task.done.data["job"]["attempt"]) == ("success", 2)


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
