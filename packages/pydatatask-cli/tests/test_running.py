"""``run``, ``update`` and ``launch``: what they do, say and give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_books import MemoryBooks, call
from cli_stores import Offline, YamlFiles
from pydatatask_cli.progress import duration
from pydatatask_core import (
    BlobRepository,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
    Task,
)
from pydatatask_core.errors import LockHeldError
from pydatatask_core.pipeline.lock import Holder, PipelineLock
from typing_extensions import override

Captured = pytest.CaptureFixture[str]


def test_run_does_all_there_is_and_says_so(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello", "b": b"hi"})
    assert books.call("run") == 0
    assert books.words.data == {"a": b"5\n", "b": b"2\n"}
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("summary: 2 done\nindex: 2 done\nTook ")


def test_a_second_run_has_nothing_to_do(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"hello"
    assert books.call("run") == 0
    capsys.readouterr()
    assert books.call("run") == 0
    assert capsys.readouterr() == ("", "Nothing to do.\n")


def test_a_failure_is_told_as_it_happens_and_in_the_exit_code(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello", "b": b"bad"})
    assert books.call("run") == 1
    err = capsys.readouterr().err
    assert "summary b: failed (exception): ValueError: b is bad\n" in err
    assert "in every way" not in err
    assert "summary: 1 done, 1 failed\n" in err
    assert "index: 1 done, 1 waiting (see: why index)\n" in err


def test_fail_fast_starts_nothing_more(books: MemoryBooks) -> None:
    books.texts.data.update({f"j{number}": b"bad" for number in range(100)})
    books.summary.max_concurrent = 1
    assert books.call("run", "--fail-fast") == 1
    assert len(books.done.data) == 1


def test_update_does_one_round(books: MemoryBooks) -> None:
    books.texts.data["a"] = b"hello"
    assert books.call("update") == 0
    assert set(books.reports.data) == {"a"}
    assert books.words.data == {}
    assert books.call("run", "--launch-once") == 0
    assert set(books.words.data) == {"a"}


def test_a_retry_is_told(capsys: Captured) -> None:
    left = [1, 1]

    async def flaky(job: str) -> None:
        if left:
            left.pop()
            raise ValueError("not yet")

    from pydatatask_core import Retries

    done = InProcessMetadataRepository()
    task = InProcessSyncTask("t", done, func=flaky, retries=Retries(2, delay=0.01))
    task.link("jobs", InProcessBlobRepository({"a": b""}), is_input=True)
    assert call(Pipeline([task], Session()), "run") == 0
    err = capsys.readouterr().err
    assert "t a: attempt 1: failed (exception): ValueError: not yet - next attempt in 0.0 s\n" in err
    assert "t a: attempt 2: failed" in err
    assert "t: 1 done, 3 attempts\n" in err


def test_further_failures_are_only_counted(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({f"j{number}": b"bad" for number in range(80)})
    assert books.call("run") == 1
    err = capsys.readouterr().err
    assert err.count("failed (exception)") == 50
    assert "summary: further failures are counted" in err
    assert "summary: 80 failed" in err


def test_a_value_that_cannot_be_read_is_told_and_the_others_go_on(tmp_path: Path, capsys: Captured) -> None:
    for job, text in (("a", "result: success"), ("b", "{result: [")):
        (tmp_path / job).write_text(text)
    first = InProcessSyncTask("first", YamlFiles(tmp_path))(_nothing)
    first.link("jobs", InProcessBlobRepository({"a": b"", "b": b""}), is_input=True)
    done = InProcessMetadataRepository()
    second = InProcessSyncTask("second", done)(_nothing)
    second.plug(first)
    assert call(Pipeline([first, second], Session()), "run") == 1
    assert "job 'b'" in capsys.readouterr().err
    assert set(done.data) == {"a"}


async def _nothing(job: str) -> None:
    return


def test_a_timeout_has_a_code_of_its_own(capsys: Captured) -> None:
    cancelled = []

    async def wait(job: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(job)

    done = InProcessMetadataRepository()
    task = InProcessSyncTask("t", done)(wait)
    task.link("jobs", InProcessBlobRepository({"a": b""}), is_input=True)
    assert call(Pipeline([task], Session()), "run", "--timeout", "1") == 124
    err = capsys.readouterr().err
    assert err.startswith("t: 1 attempt\nTook ")
    assert err.endswith("\nError: The pipeline was not done after 1.0 seconds.\n")
    assert cancelled == ["a"]
    assert done.data == {}


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_that_is_none_is_refused(books: MemoryBooks, timeout: str) -> None:
    assert books.call("run", "--timeout", timeout) == 2


class HeldLock(PipelineLock):
    @override
    async def acquire(self, lost: Callable[[], None]) -> None:
        raise LockHeldError("Another controller drives this pipeline: process 7 on there.")

    @override
    async def release(self) -> None:
        return

    @override
    async def holder(self) -> Holder | None:
        return None

    @property
    @override
    def guards(self) -> str:
        return "this pipeline"


@pytest.mark.parametrize("line", ["run", "update", "launch summary a", "rm --yes summary.texts a"])
def test_what_changes_something_by_itself_needs_the_lock(books: MemoryBooks, capsys: Captured, line: str) -> None:
    books.texts.data["a"] = b"hello"
    pipeline = Pipeline(books.pipeline.tasks.values(), Session(), lock=HeldLock())
    assert call(pipeline, *line.split()) == 6
    assert "process 7 on there" in capsys.readouterr().err
    assert set(books.texts.data) == {"a"}
    assert books.done.data == {}


class LostLock(HeldLock):
    @override
    async def acquire(self, lost: Callable[[], None]) -> None:
        lost()


def test_a_run_that_loses_the_lock_says_so(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"hello"
    pipeline = Pipeline(books.pipeline.tasks.values(), Session(), lock=LostLock())
    assert call(pipeline, "run") == 6
    assert "lock was lost on the way" in capsys.readouterr().err
    assert books.done.data == {}


def test_a_pod_launches_without_the_lock(books: MemoryBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    books.texts.data["a"] = b"hello"
    pipeline = Pipeline(books.pipeline.tasks.values(), Session(), lock=HeldLock())
    assert call(pipeline, "launch", "summary", "a", "--sync", "--force") == 0
    assert set(books.done.data) == {"a"}


# launch


def test_launch_runs_one_job_now(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello", "b": b"hi"})
    assert books.call("launch", "summary", "a") == 0
    assert set(books.reports.data) == set(books.done.data) == {"a"}
    assert capsys.readouterr().err.startswith("summary a: done in ")


def test_launch_of_a_job_that_fails(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"bad"
    assert books.call("launch", "summary", "a") == 1
    assert "summary a: failed (exception): ValueError: a is bad in " in capsys.readouterr().err


def test_launch_refuses_a_job_that_is_not_ready_and_says_why(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"hello"
    books.done.data["a"] = {"result": "success"}
    assert books.call("launch", "summary", "a") == 1
    assert capsys.readouterr().err == (
        "summary is not ready to start on a:\n"
        "  ended already (summary.done): success (to have it done again: rm summary.done a)\n"
        "Use --force to start it all the same.\n"
    )
    assert books.reports.data == {}
    assert books.call("launch", "summary", "a", "--force") == 0
    assert set(books.reports.data) == {"a"}


def test_launch_without_metadata_leaves_no_record(books: MemoryBooks) -> None:
    books.texts.data["a"] = b"hello"
    assert books.call("launch", "summary", "a", "--no-meta") == 0
    assert set(books.reports.data) == {"a"}
    assert books.done.data == {}


def test_launch_where_it_cannot_be_told_whether_a_job_is_ready(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"hello"

    class Flaky(Offline):
        @override
        async def validate(self) -> None:
            return

    books.summary.link("lost", Flaky(), is_input=True)
    assert books.call("launch", "summary", "a") == 4
    assert "does not answer" in capsys.readouterr().err
    assert books.done.data == {}


def test_launch_of_an_unknown_task_comes_with_a_suggestion(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("launch", "sumary", "a") == 2
    assert "Did you mean summary?" in capsys.readouterr().err


class Guest(Task):
    """A user's own task, which is done at the second look."""

    def __init__(self, jobs: BlobRepository, out: InProcessBlobRepository) -> None:
        super().__init__("guest")
        self.out = out
        self.looks = 0
        self.link("jobs", jobs, is_input=True)
        self.link("out", out, is_output=True, inhibits_start=True)

    @override
    async def launch(self, job: str) -> None:
        self.job = job

    @override
    async def update(self) -> bool:
        self.looks += 1
        if self.looks == 2:
            self.out.data[self.job] = b""
        return self.looks < 2


def test_launch_looks_after_a_task_of_a_users_own_class() -> None:
    out = InProcessBlobRepository()
    pipeline = Pipeline([Guest(InProcessBlobRepository({"a": b""}), out)], Session())
    assert call(pipeline, "launch", "guest", "a") == 0
    assert set(out.data) == {"a"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (59.6, "1:00 min"), (185, "3:05 min"), (8100, "2:15:00 h")],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said
