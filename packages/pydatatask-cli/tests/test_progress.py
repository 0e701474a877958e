"""What a run shows while it goes on."""

from __future__ import annotations

import asyncio
import io
import sys

import pytest
from cli_books import MemoryBooks, call
from hypothesis import given, settings, strategies as st
from pydatatask_cli import output
from pydatatask_cli.counting import Counter
from pydatatask_cli.live import table_of
from pydatatask_cli.progress import TaskRow
from pydatatask_cli.why import explain_all
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
)
from rich.console import Console
from typing_extensions import override

Captured = pytest.CaptureFixture[str]
SUCCESS, FAILURE = {"result": "success"}, {"result": "failure", "cause": "exception"}

jobs = st.sets(st.sampled_from([f"j{number}" for number in range(6)]))


@settings(deadline=None)
@given(jobs, jobs, jobs, jobs, jobs)
def test_counts_agree_with_what_why_says_of_every_job(
    texts: set[str], reports: set[str], done: set[str], failed: set[str], indexed: set[str]
) -> None:
    books = MemoryBooks(InProcessBlobRepository, InProcessMetadataRepository)
    books.texts.data.update(dict.fromkeys(texts, b""))
    books.reports.data.update(dict.fromkeys(reports, b""))
    books.done.data.update(dict.fromkeys(done, SUCCESS) | dict.fromkeys(failed, FAILURE))
    books.index_done.data.update(dict.fromkeys(indexed, SUCCESS))

    async def compare() -> None:
        async with books.pipeline:
            controller = books.pipeline.make_controller()
            for lane in controller.lanes:
                lane.hold()
            await controller.run()
            counts = Counter(books.pipeline.tasks).now(controller)
            for task in books.pipeline.tasks.values():
                groups = (await explain_all(books.pipeline, task)).groups
                waiting = (
                    group
                    for group in groups
                    if not group.ready and f"ended already ({task.name}.done)" not in group.causes
                )
                assert counts[task.name].ready == sum(group.jobs for group in groups if group.ready)
                assert counts[task.name].waiting == sum(group.jobs for group in waiting)

    asyncio.run(compare())


def drawn(width: int) -> list[list[str]]:
    rows = [
        TaskRow("download", waiting=0, ready=1200, live=4, retrying=2, done=30, failed=1, rate=12.34),
        TaskRow("a-task-with-quite-a-long-name", waiting=3, ready=0, live=0, retrying=0, done=0, failed=0, rate=0.0),
    ]
    sink = io.StringIO()
    Console(file=sink, width=width).print(table_of(rows, 75.0, width))
    return [line.split() for line in sink.getvalue().splitlines() if line.strip()]


def test_the_table_shows_every_count() -> None:
    lines = drawn(100)
    assert lines[0] == ["task", "waiting", "ready", "live", "retrying", "done", "failed", "per", "s"]
    assert lines[2] == ["download", "-", "1,200", "4", "2", "30", "1", "12.3"]
    assert lines[3] == ["a-task-with-quite-a-long-name", "3", "-", "-", "-", "-", "-", "-"]
    assert lines[4] == ["running", "for", "1:15", "min"]


def test_the_table_of_a_narrow_terminal_shows_what_matters_most() -> None:
    lines = drawn(60)
    assert lines[0] == ["task", "live", "done", "failed"]
    assert lines[2] == ["download", "4", "30", "1"]


def test_a_long_run_says_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    said = asyncio.Event()
    narrate = output.narrate

    def listening(text: str) -> None:
        narrate(text)
        if text.startswith("[") and "2 live, 1 ready" in text:
            said.set()

    async def work(job: str) -> None:
        await said.wait()

    monkeypatch.setattr("pydatatask_cli.running.QUIET", 0.01)
    monkeypatch.setattr("pydatatask_cli.output.narrate", listening)
    task = InProcessSyncTask("t", InProcessMetadataRepository(), func=work, max_concurrent=2)
    task.link("jobs", InProcessBlobRepository(dict.fromkeys("abc", b"")), is_input=True)
    assert call(Pipeline([task], Session()), "run") == 0
    assert "] t: 0 done, 2 live, 1 ready, 0.0/s\n" in capsys.readouterr().err


class Screen(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


def test_what_is_bad_is_red_on_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    output.complain("bad")
    assert capsys.readouterr().err == "bad\n"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", Screen())
    output.complain("bad")
    monkeypatch.setenv("NO_COLOR", "1")
    output.complain("bad")
    assert isinstance(sys.stderr, Screen)
    assert sys.stderr.getvalue() == "\x1b[31mbad\x1b[0m\nbad\n"
