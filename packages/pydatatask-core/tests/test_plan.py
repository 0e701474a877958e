"""What a run would do, told without doing it."""

from __future__ import annotations

from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Session,
)
from pydatatask_core.pipeline.plan import Planned, plan


async def never(job: str) -> None:
    raise AssertionError(f"{job} was started")


def task(name: str, manager: ResourceManager | None = None) -> InProcessSyncTask:
    return InProcessSyncTask(
        name,
        InProcessMetadataRepository(),
        func=never,
        max_concurrent=3,
        resource_manager=manager,
        job_resources=Resources(1.0),
    )


async def planned(*tasks: InProcessSyncTask) -> list[Planned]:
    pipeline = Pipeline(tasks, Session())
    async with pipeline.reading():
        return list((await plan(pipeline)).jobs)


async def test_a_plan_names_what_would_start_why_and_what_that_unlocks_and_starts_nothing() -> None:
    first, second, third = task("first"), task("second"), task("third")
    source = InProcessMetadataRepository({"a": {}, "b": {}})
    first.link("source", source, is_input=True)
    second.plug(first)
    second.link("extra", InProcessMetadataRepository({"a": {}}), is_input=True)
    third.plug(second)
    assert await planned(first, second, third) == [
        Planned("first", "a", None, ("source",), ("second",)),
        Planned("first", "b", None, ("source",), ()),
    ]
    assert first.done is not None
    assert await first.done.info_all() == {}


async def test_a_plan_tells_what_would_wait_and_for_what() -> None:
    manager = ResourceManager(Resources(2.0, 0))
    narrow, wide = task("narrow", manager), task("wide")
    for made in (narrow, wide):
        made.link("source", InProcessMetadataRepository({f"j{n}": {} for n in range(5)}), is_input=True)
    plans = await planned(narrow, wide)
    assert [entry.held_back_by for entry in plans if entry.task == "narrow"] == [None, None, "cpu", "cpu", "cpu"]
    assert [entry.held_back_by for entry in plans if entry.task == "wide"] == [None] * 3 + ["max_concurrent"] * 2


async def test_a_plan_reads_the_success_that_tasks_wait_for() -> None:
    first, second = task("first"), task("second")
    first.link("source", InProcessMetadataRepository(), is_input=True)
    assert isinstance(first.done, InProcessMetadataRepository)
    first.done.data.update(good={"result": "success"}, bad={"result": "failure"})
    second.plug(first)
    assert [(entry.task, entry.job) for entry in await planned(first, second)] == [("second", "good")]
