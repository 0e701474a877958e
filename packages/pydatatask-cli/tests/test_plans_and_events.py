"""``run --dry-run`` and ``run --events``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_books import MemoryBooks
from pydatatask_core import Pipeline
from pydatatask_core.pipeline.lock import Holder, PipelineLock
from typing_extensions import override

Captured = pytest.CaptureFixture[str]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_dry_run_says_what_would_start_why_and_what_that_unlocks(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello", "b": b"hi"})
    assert books.call("run", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "summary: 2 jobs would start now, because of texts",
        "  a, b",
        "  would unlock index on 2 jobs",
    ]
    assert err == ""
    assert books.words.data == {}


def test_a_dry_run_of_nothing_says_so_and_prints_no_data(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("run", "--dry-run") == 0
    assert capsys.readouterr() == ("", "Nothing would start.\n")


def test_a_dry_run_as_json_has_a_line_for_each_job(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello"})
    assert books.call("run", "--dry-run", "--json") == 0
    assert lines(capsys.readouterr().out) == [
        {
            "schema_version": 1,
            "task": "summary",
            "job": "a",
            "held_back_by": None,
            "because": ["texts"],
            "unlocks": ["index"],
        }
    ]


def test_json_without_a_dry_run_is_refused_with_what_to_use(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("run", "--json") == 2
    assert "--events FILE" in capsys.readouterr().err


def test_events_are_appended_as_json_lines(books: MemoryBooks, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text('{"earlier": true}\n')
    books.texts.data.update({"a": b"hello", "b": b"bad"})
    assert books.call("run", "--events", str(log)) == 1
    earlier, *events = lines(log.read_text())
    assert earlier == {"earlier": True}
    assert all(event["schema_version"] == 1 and event["time"] for event in events)
    ended = {(event["task"], event["job"]): event["record"]["result"] for event in events if "record" in event}
    assert ended == {("summary", "a"): "success", ("summary", "b"): "failure", ("index", "a"): "success"}
    assert {"launched", "finished", "listed", "round_done"} <= {event["event"] for event in events}


def test_an_event_file_that_cannot_be_opened_is_refused_before_anything_starts(
    books: MemoryBooks, tmp_path: Path
) -> None:
    books.texts.data.update({"a": b"hello"})
    assert books.call("run", "--events", str(tmp_path)) == 2
    assert books.words.data == {}


class _Lock(PipelineLock):
    holding: Holder | None = None

    @property
    @override
    def guards(self) -> str:
        return "a lock guards this test"

    @override
    async def acquire(self, lost: Callable[[], None]) -> None: ...

    @override
    async def release(self) -> None: ...

    @override
    async def holder(self) -> Holder | None:
        return self.holding


def test_status_says_what_guards_the_pipeline_and_who_drives_it(books: MemoryBooks, capsys: Captured) -> None:
    lock = _Lock()
    books.pipeline = Pipeline(books.pipeline.tasks.values(), books.pipeline.session, lock=lock)
    assert books.call("status") == 0
    assert capsys.readouterr().err == "Nobody drives it now; a lock guards this test.\n"
    lock.holding = Holder("here", 7, "2026-01-01T00:00:00+00:00")
    assert books.call("status") == 0
    assert capsys.readouterr().err == (
        "Process 7 on here drives it since 2026-01-01T00:00:00+00:00; a lock guards this test.\n"
        "How its jobs stand is not told: ask on here, where it runs.\n"
    )
    assert books.call("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lock"] == {
        "guards": "a lock guards this test",
        "holder": {"host": "here", "pid": 7, "since": "2026-01-01T00:00:00+00:00"},
    }
