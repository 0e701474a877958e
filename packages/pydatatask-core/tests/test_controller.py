"""The controller over memory repositories: what starts, what does not, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from pydatatask_core import (
    ConfigurationError,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    MalformedValueError,
    Pipeline,
    RelatedItemRepository,
    Repository,
    Retries,
    Session,
    StoreUnavailableError,
    Task,
)
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.events import (
    AnswerFailed,
    Event,
    Finished,
    Launched,
    Retrying,
    StoreBack,
    StoreUnreachable,
)
from pydatatask_core.pipeline.feed import Polling
from pydatatask_core.testing import Fail, Faults, faulty, nth
from typing_extensions import override

Never = Polling(shortest=1e9, longest=1e9)
Data = dict[str, Any]


def task(
    name: str, function: Callable[[str], Awaitable[None]] | None = None, **options: Any
) -> tuple[InProcessSyncTask, Data]:
    """Make a task, and give the dict behind its done repository."""

    async def nothing(job: str) -> None:
        pass

    done = InProcessMetadataRepository()
    return InProcessSyncTask(name, done, func=function or nothing, **options), done.data


def inputs(*jobs: str) -> InProcessMetadataRepository:
    return InProcessMetadataRepository({job: {} for job in jobs})


async def run(*tasks: Task, **options: Any) -> Controller:
    pipeline = Pipeline(tasks, Session())
    pipeline.polling = Never
    async with asyncio.timeout(20), pipeline:
        return await pipeline.run(**options)


async def test_a_chain_over_memory_never_waits_for_a_poll() -> None:
    first, _ = task("first")
    second, _ = task("second")
    third, done = task("third")
    first.link("source", inputs("a", "b", "c"), is_input=True)
    second.plug(first)
    third.plug(second)
    await run(third, second, first)
    assert sorted(done) == ["a", "b", "c"]


async def test_a_job_added_by_a_function_is_seen_at_once() -> None:
    source = inputs("a")
    made = InProcessMetadataRepository()

    async def split(job: str, made: InProcessMetadataRepository) -> None:
        for part in range(3):
            await made.dump(f"{job}-{part}", part)

    first, _ = task("first", split)  # type: ignore[arg-type]  # a function with links takes more than the job
    first.link("source", source, is_input=True)
    first.link("made", made, is_output=True)
    second, done = task("second")
    second.link("parts", made, is_input=True)
    await run(first, second)
    assert sorted(done) == ["a-0", "a-1", "a-2"]


async def test_a_second_run_starts_nothing() -> None:
    only, _ = task("only")
    only.link("source", inputs("a"), is_input=True)
    assert (await run(only)).progress()[0].launched == 1
    assert (await run(only)).progress()[0].launched == 0


async def test_a_failure_is_recorded_and_stops_only_what_is_plugged_into_it() -> None:
    async def fails_on_b(job: str) -> None:
        if job == "b":
            raise ValueError("b is not to my taste")

    first, first_done = task("first", fails_on_b)
    first.link("source", inputs("a", "b"), is_input=True)
    second, second_done = task("second")
    second.plug(first)
    events: list[Event] = []
    await run(first, second, observers=[events.append])
    assert sorted(second_done) == ["a"]
    record = first_done["b"]
    assert record["result"] == "failure"
    assert record["cause"] == "exception"
    assert record["exception"] == "ValueError: b is not to my taste"
    assert "fails_on_b" in record["traceback"]
    assert record["attempt"] == 1
    assert record["end_time"] >= record["start_time"]
    assert {(event.job, event.record.result) for event in events if isinstance(event, Finished)} == {
        ("a", "success"),
        ("b", "failure"),
    }
    assert ("first", "b") in {(event.task, event.job) for event in events if isinstance(event, Launched)}


async def test_failure_ok_lets_what_is_plugged_into_it_start() -> None:
    async def fails(job: str) -> None:
        raise ValueError(job)

    first, _ = task("first", fails, failure_ok=True)
    first.link("source", inputs("a"), is_input=True)
    second, done = task("second")
    second.plug(first)
    await run(first, second)
    assert list(done) == ["a"]


async def test_success_is_read_from_records_of_an_earlier_run() -> None:
    first, first_done = task("first")
    first_done.update(
        good={"result": "success"},
        old_good={"start_time": None, "end_time": None},
        old_bad={"exception": "ValueError()", "result": "exception"},
        old_exit={"return_code": 1},
        bad={"result": "lost"},
    )
    first.link("source", inputs(), is_input=True)
    second, done = task("second")
    second.plug(first)
    await run(first, second)
    assert sorted(done) == ["good", "old_good"]


async def test_a_record_that_cannot_be_read_holds_only_its_own_job() -> None:
    broken = Faults(nth(0, Fail(MalformedValueError("job 'a' in x: broken")), "info"))
    done = faulty(InProcessMetadataRepository({"a": {}, "b": {"result": "success"}}), broken)
    first = InProcessSyncTask("first", done)

    @first
    async def nothing(job: str) -> None:
        pass

    first.link("source", inputs(), is_input=True)
    second, second_done = task("second")
    second.plug(first)
    events: list[Event] = []
    controller = await run(first, second, observers=[events.append])
    assert len(second_done) == 1
    assert [type(problem) for problem in controller.problems()] == [MalformedValueError]
    assert any(isinstance(event, AnswerFailed) for event in events)


async def test_a_failed_attempt_is_retried_and_leaves_no_record_until_the_last() -> None:
    seen: list[bool] = []

    async def fails_twice(job: str) -> None:
        seen.append(job in done)
        if len(seen) < 3:
            raise ValueError(f"attempt {len(seen)}")

    only, done = task("only", fails_twice, retries=Retries(3, delay=0))
    only.link("source", inputs("a"), is_input=True)
    events: list[Event] = []
    await run(only, observers=[events.append])
    assert seen == [False, False, False]
    record = done["a"]
    assert (record["result"], record["attempt"]) == ("success", 3)
    assert [earlier["exception"] for earlier in record["attempts"]] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]
    assert [event.record.attempt for event in events if isinstance(event, Retrying)] == [1, 2]


async def test_retries_end_with_a_record_of_all_attempts() -> None:
    async def fails(job: str) -> None:
        raise ValueError(job)

    only, done = task("only", fails, retries=Retries(2, delay=0))
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert (done["a"]["result"], done["a"]["attempt"], len(done["a"]["attempts"])) == ("failure", 3, 2)


async def test_a_cause_that_is_not_retried_ends_at_once() -> None:
    async def fails(job: str) -> None:
        raise ValueError(job)

    only, done = task("only", fails, retries=Retries(2, delay=0, causes={"timeout"}))
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert done["a"]["attempt"] == 1


async def test_attempts_are_kept_for_the_next_controller() -> None:
    kept = InProcessMetadataRepository({"a": [{"result": "failure", "attempt": 1}]})

    async def fails(job: str) -> None:
        raise ValueError(job)

    only, done = task("only", fails, retries=Retries(1, delay=0), attempts=kept)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert done["a"]["attempt"] == 2
    assert kept.data == {}


async def test_a_timeout_cancels_and_is_recorded() -> None:
    async def hangs(job: str) -> None:
        await asyncio.Event().wait()

    only, done = task("only", hangs, timeout=0.01)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert (done["a"]["result"], done["a"]["cause"]) == ("timeout", "timeout")


async def test_a_timeout_error_of_the_function_itself_is_a_failure() -> None:
    async def gives_up(job: str) -> None:
        raise TimeoutError("of my own")

    only, done = task("only", gives_up, timeout=100)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert (done["a"]["result"], done["a"]["cause"]) == ("failure", "exception")


async def test_a_function_that_cancels_itself_or_exits_has_failed() -> None:
    async def ends(job: str) -> None:
        raise asyncio.CancelledError if job == "cancel" else SystemExit(3)

    only, done = task("only", ends)
    only.link("source", inputs("cancel", "exit"), is_input=True)
    await run(only)
    assert {job: record["result"] for job, record in done.items()} == {"cancel": "failure", "exit": "failure"}


async def test_no_more_than_max_concurrent_run_at_a_time() -> None:
    live: set[str] = set()
    most = 0

    async def counts(job: str) -> None:
        nonlocal most
        live.add(job)
        most = max(most, len(live))
        for _ in range(5):
            await asyncio.sleep(0)
        live.discard(job)

    only, done = task("only", counts, max_concurrent=4)
    only.link("source", inputs(*(f"j{i}" for i in range(40))), is_input=True)
    await run(only)
    assert len(done) == 40
    assert most == 4


async def test_jobs_of_a_higher_priority_start_first() -> None:
    order: list[str] = []

    async def notes(job: str) -> None:
        order.append(job)

    only, _ = task("only", notes, max_concurrent=1)
    only.link("source", inputs(*(f"j{i}" for i in range(9))), is_input=True)
    pipeline = Pipeline([only], Session(), priority=lambda _task, job: int(job[1:]) % 3)
    async with pipeline:
        await pipeline.run()
    assert [int(job[1:]) % 3 for job in order] == [2, 2, 2, 1, 1, 1, 0, 0, 0]


async def test_a_deleted_record_is_redone_while_the_pipeline_runs() -> None:
    starts: list[str] = []
    again = asyncio.Event()

    async def notes(job: str) -> None:
        starts.append(job)
        if len(starts) == 3:
            again.set()

    only, _ = task("only", notes)
    only.link("source", inputs("a", "b"), is_input=True)
    pipeline = Pipeline([only], Session())
    async with asyncio.timeout(20), pipeline:
        running = asyncio.ensure_future(pipeline.run(forever=True))
        while len(starts) < 2:
            await asyncio.sleep(0)
        done = only.done
        assert done is not None
        while not await done.contains("b"):
            await asyncio.sleep(0)
        await done.delete("b")
        await again.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert starts[2] == "b"


async def test_launch_once_starts_only_what_is_ready_at_the_first_look() -> None:
    first, first_done = task("first")
    first.link("source", inputs(*(f"j{i}" for i in range(30))), is_input=True)
    second, second_done = task("second")
    second.plug(first)
    await run(first, second, launch_once=True)
    assert (len(first_done), len(second_done)) == (30, 0)


async def test_update_does_one_round_and_tells_whether_anything_happened() -> None:
    first, _ = task("first")
    first.link("source", inputs("a"), is_input=True)
    second, done = task("second")
    second.plug(first)
    pipeline = Pipeline([first, second], Session())
    async with pipeline:
        assert await pipeline.update()
        assert not done
        assert await pipeline.update()
        assert list(done) == ["a"]
        assert not await pipeline.update()


async def test_a_timeout_of_the_run_is_raised_and_leaves_no_record() -> None:
    async def hangs(job: str) -> None:
        await asyncio.Event().wait()

    only, done = task("only", hangs)
    only.link("source", inputs("a"), is_input=True)
    with pytest.raises(TimeoutError):
        await run(only, timeout=0.05)
    assert not done


async def test_stop_finishes_what_runs_and_starts_no_more() -> None:
    going = asyncio.Event()
    go_on = asyncio.Event()

    async def waits(job: str) -> None:
        going.set()
        await go_on.wait()

    only, done = task("only", waits, max_concurrent=2)
    only.link("source", inputs("a", "b", "c", "d"), is_input=True)
    pipeline = Pipeline([only], Session())
    async with asyncio.timeout(20), pipeline:
        running = asyncio.ensure_future(pipeline.run())
        await going.wait()
        assert pipeline.controller is not None
        pipeline.controller.stop()
        go_on.set()
        await running
    assert len(done) == 2


async def test_fail_fast_starts_nothing_after_the_first_failure() -> None:
    async def fails(job: str) -> None:
        raise ValueError(job)

    only, done = task("only", fails, max_concurrent=1)
    only.link("source", inputs("a", "b", "c"), is_input=True)
    await run(only, fail_fast=True)
    assert len(done) == 1


async def test_a_done_store_that_fails_for_a_while_loses_no_record_and_runs_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts: list[str] = []

    async def notes(job: str) -> None:
        starts.append(job)

    store = InProcessMetadataRepository()
    done = faulty(store, Faults(nth(0, Fail(StoreUnavailableError("down")), "dump")))
    only = InProcessSyncTask("only", done, func=notes)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert starts == ["a"]
    assert store.data["a"]["result"] == "success"


class Unreliable(InProcessMetadataRepository):
    """Cannot be listed a number of times."""

    failures = 1

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("the network is down")
        async for page in super().pages():
            yield page


async def test_an_unreachable_store_is_retried_and_does_not_stop_the_others() -> None:
    source = Unreliable({"a": {}})
    one, one_done = task("one")
    one.link("source", source, is_input=True)
    other, other_done = task("other")
    other.link("source", inputs("b"), is_input=True)
    told: list[Event] = []

    def observe(event: Event) -> None:
        told.append(event)
        if isinstance(event, StoreBack):
            assert list(other_done) == ["b"]

    await run(one, other, observers=[observe])
    assert list(one_done) == ["a"]
    assert any(isinstance(event, StoreUnreachable) for event in told)


async def test_an_unreachable_store_never_looks_empty() -> None:
    done = Unreliable({"a": {"result": "success"}})
    starts: list[str] = []

    async def notes(job: str) -> None:
        starts.append(job)

    only = InProcessSyncTask("only", done, func=notes)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert starts == []


async def test_a_store_that_stays_unreachable_ends_the_run_with_its_error() -> None:
    source = Unreliable({"a": {}})
    source.failures = 1000
    only, _ = task("only")
    only.link("source", source, is_input=True)
    controller = Controller([only], patience=0.01)
    with pytest.raises(StoreUnavailableError, match="the network is down"):
        await controller.run()


class Own(Repository):
    """A user's own repository, with three methods."""

    def __init__(self, keys: set[str]) -> None:
        self.keys = keys

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for key in list(self.keys):
            yield key

    @override
    async def info(self, job: str, /) -> str:
        return f"own {job}"

    @override
    async def delete(self, job: str, /) -> None:
        self.keys.discard(job)


async def test_a_users_own_repository_drives_a_pipeline() -> None:
    source, made = Own({"a", "b", "no job id"}), Own(set())

    async def makes(job: str) -> None:
        made.keys.add(job)
        made.keys.add(f"{job}-extra")

    first, _ = task("first", makes)
    first.link("source", source, is_input=True)
    first.link("made", made, is_output=True)
    second, done = task("second")
    second.link("made", made, is_input=True)
    await run(first, second)
    assert sorted(done) == ["a", "a-extra", "b", "b-extra"]


async def test_a_translator_changes_keys_on_the_way() -> None:
    first, _ = task("first")
    first.link("source", inputs("book"), is_input=True)
    chapters = InProcessMetadataRepository({"chapter1": "book", "chapter2": "book", "other": "no-book"})
    second, done = task("second")
    second.plug(first, translator=chapters)
    second.link("chapters", chapters, is_input=True)
    await run(first, second)
    assert sorted(done) == ["chapter1", "chapter2"]


async def test_a_translator_keeps_the_condition_of_success() -> None:
    async def fails(job: str) -> None:
        if job == "bad":
            raise ValueError(job)

    first, _ = task("first", fails)
    first.link("source", inputs("good", "bad"), is_input=True)
    chapters = InProcessMetadataRepository({"g1": "good", "b1": "bad"})
    second, done = task("second")
    second.plug(first, translator=chapters)
    await run(first, second)
    assert sorted(done) == ["g1"]


async def test_ready_overrides_the_rule() -> None:
    done = InProcessMetadataRepository()
    only = InProcessSyncTask(
        "only", done, ready=RelatedItemRepository(inputs("x"), InProcessMetadataRepository({"a": "x", "b": "y"}))
    )
    starts: list[str] = []

    @only
    async def notes(job: str) -> None:
        starts.append(job)

    pipeline = Pipeline([only], Session())
    async with pipeline:
        await pipeline.update()
    assert starts == ["a"]


async def test_a_disabled_task_starts_nothing() -> None:
    only, done = task("only", disabled=True)
    only.link("source", inputs("a"), is_input=True)
    await run(only)
    assert not done


async def test_blobs_and_metadata_reach_the_function_by_the_names_of_their_links() -> None:
    texts = InProcessBlobRepository({"a": b"one two"})
    counts = InProcessMetadataRepository()
    only = InProcessSyncTask("only", InProcessMetadataRepository())

    @only
    async def counting(job: str, texts: InProcessBlobRepository, counts: InProcessMetadataRepository) -> None:
        async with await texts.open(job) as text:
            await counts.dump(job, len((await text.read()).split()))

    only.link("texts", texts, is_input=True)
    only.link("counts", counts, is_output=True)
    await run(only)
    assert counts.data == {"a": 2}


async def _nothing(job: str) -> None:
    pass


def _plain(job: str) -> None:
    pass


async def _wants_missing(job: str, missing: Repository) -> None:
    pass


async def _wants_blob(job: str, source: InProcessBlobRepository) -> None:
    pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (None, "'only' has no function"),
        (_plain, "Write 'async def'"),
        (_wants_missing, "parameter 'missing', and no link has that name"),
        (_wants_blob, "parameter 'source' wants a InProcessBlobRepository"),
    ],
)
async def test_a_function_that_does_not_fit_its_links_is_refused_at_opening(
    function: Callable[..., Any] | None, message: str
) -> None:
    only = InProcessSyncTask("only", InProcessMetadataRepository(), func=function)
    only.link("source", inputs("a"), is_input=True)
    with pytest.raises(ConfigurationError, match=message):
        await run(only)


async def test_a_task_that_nothing_can_start_is_refused_at_opening() -> None:
    only, _ = task("only")
    with pytest.raises(ConfigurationError, match="Nothing can start task 'only'"):
        await run(only)


async def test_a_task_that_would_start_for_ever_is_refused_at_opening() -> None:
    only = InProcessSyncTask("only", None, func=_nothing)
    only.link("source", inputs("a"), is_input=True)
    only.link("live", inputs(), is_status=True, inhibits_start=True)
    with pytest.raises(ConfigurationError, match="would start for ever"):
        await run(only)


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'twin'"):
        Pipeline([task("twin")[0], task("twin")[0]], Session())


@pytest.mark.parametrize("name", ["", "a b", "-a", "a.b", "x" * 64])
def test_a_bad_task_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        task(name)


def test_a_bad_link_is_refused() -> None:
    only, _ = task("only")
    with pytest.raises(ConfigurationError, match="identifier"):
        only.link("no name", inputs())
    with pytest.raises(ConfigurationError, match="no Repository"):
        only.link("name", "books")  # type: ignore[arg-type]  # what a user may do wrong


async def test_several_mistakes_are_told_together() -> None:
    with pytest.RaisesGroup(ConfigurationError, ConfigurationError):
        await run(task("one")[0], task("two")[0])
