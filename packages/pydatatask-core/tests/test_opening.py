"""Stores that do not answer when a pipeline is opened: their tasks wait, and the others run."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydatatask_core import (
    AggregateAndRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
    StoreUnavailableError,
    Task,
)
from pydatatask_core.errors import StoreCredentialsError, StorePermissionError
from pydatatask_core.pipeline.events import Event, Finished, Launched, StoreBack, StoreUnreachable
from pydatatask_core.pipeline.plan import plan
from pydatatask_core.testing import simulate
from switched import Switched


def task(name: str, **options: Any) -> InProcessSyncTask:
    async def nothing(job: str) -> None:
        pass

    made = InProcessSyncTask(name, InProcessMetadataRepository(), func=nothing, **options)
    made.link("source", InProcessMetadataRepository({"a": {}, "b": {}}), is_input=True)
    return made


def comes_up_after(seconds: float, store: Switched, *tasks: Task, **options: Any) -> list[Event]:
    """Run tasks in simulated time, and switch a store on meanwhile."""
    events: list[Event] = []

    async def main() -> None:
        def switch_on() -> None:
            store.error = None

        async with Pipeline(tasks, Session()) as pipeline:
            asyncio.get_running_loop().call_later(seconds, switch_on)
            await pipeline.run(observers=[events.append], **options)

    simulate(main)
    return events


def starts(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.task, event.job) for event in events if isinstance(event, Launched)]


@pytest.mark.parametrize("link", [{"is_input": True}, {"is_output": True}, {"inhibits_start": True}, {}], ids=str)
def test_a_store_that_is_down_at_opening_keeps_only_its_tasks_waiting_until_it_is_up(link: dict[str, bool]) -> None:
    store = Switched({"a": {}})
    first, second = task("first"), task("second")
    second.link("store", store, **link)
    events = comes_up_after(20, store, second, first)
    back = events.index(StoreBack(store.location))
    assert starts(events[:back]) == [("first", "a"), ("first", "b")]
    wanted = {"{'is_input': True}": "a", "{'inhibits_start': True}": "b"}.get(str(link), "ab")
    assert starts(events[back:]) == [("second", job) for job in wanted]
    told = [event for event in events if isinstance(event, StoreUnreachable)]
    assert [event.delay for event in told] == [1, 2, 4, 8, 10]
    assert {event.location for event in told} == {store.location}


def test_a_combinator_over_a_store_that_is_down_waits_for_that_store_alone() -> None:
    store = Switched({"a": {}})
    waiting = InProcessSyncTask("waiting", InProcessMetadataRepository(), func=_nothing)
    both = AggregateAndRepository(store=store, other=InProcessMetadataRepository({"a": {}, "b": {}}))
    waiting.link("both", both, is_input=True)
    events = comes_up_after(5, store, waiting, task("other"))
    assert starts(events) == [("other", "a"), ("other", "b"), ("waiting", "a")]
    assert {event.location for event in events if isinstance(event, StoreUnreachable)} == {store.location}


async def _nothing(job: str) -> None:
    pass


def test_a_run_gives_up_on_a_store_that_stays_down_when_nothing_else_is_left() -> None:
    store = Switched()
    first, second = task("first"), task("second")
    second.link("store", store, is_input=True)
    with pytest.raises(StoreUnavailableError, match="switched off"):
        comes_up_after(1e6, store, second, first)
    assert first.done is not None
    assert isinstance(first.done, InProcessMetadataRepository)
    assert sorted(first.done.data) == ["a", "b"]


def test_a_run_waits_for_stores_when_all_are_down() -> None:
    store = Switched({"a": {}})
    only = InProcessSyncTask("only", store, func=_nothing)
    only.link("source", store, is_input=True, inhibits_start=False)
    events = comes_up_after(10, store, only)
    assert starts(events) == []
    assert StoreBack(store.location) in events


def test_a_store_that_comes_up_while_others_run_is_not_waited_for_to_end() -> None:
    store = Switched({"a": {}})

    async def long(job: str) -> None:
        await asyncio.sleep(1000)

    first, second = InProcessSyncTask("first", InProcessMetadataRepository(), func=long), task("second")
    first.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
    second.link("store", store, is_input=True)
    events = comes_up_after(50, store, first, second)
    ends = [(event.task, event.job) for event in events if isinstance(event, Finished)]
    assert ends == [("second", "a"), ("first", "a")]


def test_a_store_that_takes_long_to_open_does_not_keep_other_tasks_from_starting() -> None:
    store = Switched({"a": {}})
    store.slow, store.error = 300, None
    began: dict[str, float] = {}

    async def note(job: str) -> None:
        began[job] = asyncio.get_running_loop().time()

    first, second = (InProcessSyncTask(name, InProcessMetadataRepository(), func=note) for name in ("first", "second"))
    first.link("source", InProcessMetadataRepository({"quick": {}}), is_input=True)
    second.link("store", store, is_input=True)
    # Ten times a run's patience, and it is waited for: it has not failed.
    events = comes_up_after(0, store, first, second)
    assert starts(events) == [("first", "quick"), ("second", "a")]
    assert began["quick"] == pytest.approx(5, abs=0.1)
    assert began["a"] == pytest.approx(300, abs=0.1)


def test_a_disabled_task_stays_so_when_its_store_comes_up() -> None:
    store = Switched({"a": {}})
    only = task("only", disabled=True)
    only.link("store", store, is_input=True)
    assert starts(comes_up_after(5, store, only)) == []


@pytest.mark.parametrize("kind", [StoreCredentialsError, StorePermissionError, ValueError])
async def test_a_store_that_refuses_us_is_told_at_opening(kind: type[Exception]) -> None:
    store = Switched()
    store.error = kind("No.")
    only = task("only")
    only.link("store", store, is_input=True)
    pipeline = Pipeline([only], Session())
    with pytest.raises(kind, match="No"):
        await pipeline.open()
    await pipeline.close()


async def test_an_open_pipeline_tells_which_stores_are_unreachable() -> None:
    store = Switched()
    only = task("only")
    only.link("store", store, is_input=True)
    async with Pipeline([only], Session()) as pipeline:
        assert pipeline.unreachable == {store.location: store.error}


async def test_an_opening_that_is_under_way_ends_with_the_pipeline() -> None:
    store = Switched()
    store.slow = 1e6
    only = task("only")
    only.link("store", store, is_input=True)
    pipeline = Pipeline([only], Session())
    opening = asyncio.ensure_future(pipeline.open())
    while not (attempts := [one for one in asyncio.all_tasks() if "Switched.validate" in repr(one.get_coro())]):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.gather(opening, *attempts, return_exceptions=True)
    assert [one.cancelled() for one in (opening, *attempts)] == [True] * (len(attempts) + 1)


async def test_a_plan_names_what_is_unreachable_and_shows_the_rest() -> None:
    store = Switched()
    first, second = task("first"), task("second")
    second.link("store", store, is_input=True)
    pipeline = Pipeline([first, second], Session())
    async with pipeline.reading():
        found = await plan(pipeline)
    assert found.unreachable == {store.location: store.error}
    assert [(one.task, one.job) for one in found.jobs] == [("first", "a"), ("first", "b")]
