"""Nothing of a task starts before all that it waits for is there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Retries,
    Session,
)
from pydatatask_core.errors import SiteUnavailableError
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
@pytest.mark.parametrize("link", [{"is_input": True}, {"is_output": True}], ids=str)
def test_a_task_that_waits_for_its_site_and_a_store_waits_for_both(
    site: float, store: float, link: dict[str, bool]
) -> None:
    kept, began = Switched({"a": {}} if "is_input" in link else {}), []

    async def note(job: str) -> None:
        began.append(asyncio.get_running_loop().time())

    task = Unseen("task", InProcessMetadataRepository(), func=note)
    task.link("source", source("a"), is_input=True)
    task.link("kept", kept, **link)
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
