"""``status``, ``trace`` and ``why``."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_books import MemoryBooks, call
from cli_stores import Lines, Offline, YamlFiles
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
)

Captured = pytest.CaptureFixture[str]
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def record(result: str = "success", begin: float = 0, **more: Any) -> dict[str, Any]:
    start = NOON + timedelta(seconds=begin)
    return {"result": result, "attempt": 1, "start_time": start, "end_time": start + timedelta(seconds=2.5)} | more


FAILED = record("failure", cause="exception", exception="ValueError: no\nmore", host="here")


def document(capsys: Captured) -> Any:
    found = json.loads(capsys.readouterr().out)
    assert found.pop("schema_version") == 1
    return found


# status


def test_status_counts_the_jobs_of_each_link(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"", "b": b""})
    books.done.data["a"] = record()
    assert books.call("status") == 0
    assert capsys.readouterr() == (
        "summary\nsummary.texts 2\nsummary.done 1\nsummary.reports 0\n\n"
        "index\nindex.reports 0\nindex.done 0\nindex.words 0\n\n",
        "",
    )
    assert books.call("status", "-a") == 0
    assert "index.words 0\nindex.summary_done 1\n" in capsys.readouterr().out


def test_status_is_a_json_document(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    assert books.call("status", "--json") == 0
    tasks = document(capsys)["tasks"]
    assert [task["name"] for task in tasks] == ["summary", "index"]
    assert {**tasks[0]["links"][0], "location": None} == {
        "name": "summary.texts",
        "role": "input",
        "location": None,
        "jobs": 1,
        "error": None,
    }


def test_status_counts_how_runs_ended_when_asked(tmp_path: Path, books: MemoryBooks, capsys: Captured) -> None:
    books.done.data.update({"a": record(), "b": FAILED, "c": FAILED, "d": record("timeout", cause="timeout")})
    books.done.data["e"] = {"return_code": 3}
    assert books.call("status", "--failed", "--json") == 0
    summary, index = document(capsys)["tasks"]
    assert summary["results"] == {"failure": 1, "failure (exception)": 2, "success": 1, "timeout": 1}
    assert index["results"] == {}
    assert books.call("status", "--failed") == 0
    assert "\nfailure (exception) 2\n" in capsys.readouterr().out


def test_a_record_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a").write_text("result: success\n")
    (tmp_path / "b").write_text("{result: [")
    task = InProcessSyncTask("t", YamlFiles(tmp_path))
    assert call(Pipeline([task], Session()), "status", "--failed", "--json") == 0
    assert document(capsys)["tasks"][0]["results"] == {"success": 1, "unreadable": 1}


def test_an_unreachable_store_is_a_row_and_the_others_are_shown(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.summary.link("lost", Offline(), is_output=True)
    assert books.call("status") == 4
    out, err = capsys.readouterr()
    assert "summary.texts 1\n" in out
    assert "summary.lost unreachable\n" in out
    assert err == "Error: offline:: The store at offline: does not answer. Is it switched on?\n"
    assert books.call("status", "--json") == 4
    links = document(capsys)["tasks"][0]["links"]
    assert next(link for link in links if link["name"] == "summary.lost")["jobs"] is None


# trace


def test_trace_shows_where_a_job_is_and_what_became_of_its_runs(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.done.data["a"] = FAILED
    assert books.call("trace", "a") == 0
    assert capsys.readouterr() == (
        "a\n"
        "  summary  failure (exception): ValueError: no, started 2024-05-01 12:00:00 UTC, took 2.5 s, on here\n"
        "    summary.texts  input\n"
        "    summary.done   status\n"
        "  index    not there\n"
        "\n",
        "",
    )


def test_trace_is_a_json_document(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.done.data["a"] = FAILED
    assert books.call("trace", "a", "b", "--json") == 0
    jobs = document(capsys)["jobs"]
    assert [job["job"] for job in jobs] == ["a", "b"]
    summary = jobs[0]["tasks"][0]
    assert [link["present"] for link in summary["links"]] == [True, True, False]
    assert summary["run"]["result"] == "failure (exception)"
    assert summary["run"]["start_time"] == "2024-05-01T12:00:00+00:00"
    assert summary["run"]["seconds"] == 2.5
    assert jobs[1]["tasks"][0]["run"] is None


def test_trace_puts_runs_in_order_of_time(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = record(begin=60)
    books.index_done.data["a"] = record(begin=0)
    assert books.call("trace", "a") == 0
    out = capsys.readouterr().out
    assert out.index("  index  ") < out.index("  summary  ")


def test_trace_of_a_job_that_nobody_knows_has_a_code_of_its_own(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("trace", "a") == 5
    assert capsys.readouterr() == ("", "No repository holds a.\n")


def test_trace_goes_on_where_a_store_is_unreachable(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.summary.link("lost", Offline(), is_output=True)
    assert books.call("trace", "a") == 4
    out, err = capsys.readouterr()
    assert "summary.texts  input" in out
    assert "summary.lost   output (unreachable)" in out
    assert "does not answer" in err


@pytest.mark.parametrize(
    "data", ["just text", 3, {"start_time": "yesterday", "attempt": "one"}, {"reason": "OOMKilled"}]
)
def test_trace_reads_what_other_releases_left(books: MemoryBooks, capsys: Captured, data: Any) -> None:
    books.done.data["a"] = data
    assert books.call("trace", "a") == 0
    assert "summary  " in capsys.readouterr().out


# why


def conditions(capsys: Captured) -> dict[str, bool | None]:
    found = document(capsys)
    return {f"{one['rule']} {one['link'] or ''}".strip(): one["satisfied"] for one in found["conditions"]}


def test_why_says_that_a_job_is_ready(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    assert books.call("why", "summary", "a") == 0
    assert capsys.readouterr().out == (
        "summary a: ready to start\n  yes  in summary.texts\n  yes  not in summary.done\n"
    )


def test_why_names_who_fills_what_is_missing(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("why", "index", "a") == 0
    out = capsys.readouterr().out
    assert "NO   missing from index.reports (summary fills it: see why summary a)" in out
    assert books.call("why", "summary", "a") == 0
    assert "missing from summary.texts (no task fills it: put the job there, as by inject summary.texts a)" in (
        capsys.readouterr().out
    )


def test_why_says_how_a_job_ended_and_how_to_have_it_done_again(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = FAILED
    assert books.call("why", "summary", "a") == 0
    out = capsys.readouterr().out
    assert "ended already (summary.done): failure (exception), ValueError: no, since 2024-05-01 12:00:02 UTC (" in out
    assert " days) (to have it done again: rm summary.done a)" in out


def test_why_says_that_an_upstream_task_failed(books: MemoryBooks, capsys: Captured) -> None:
    books.reports.data["a"] = b""
    books.done.data["a"] = FAILED
    assert books.call("why", "index", "a") == 0
    assert "NO   summary failed: failure (exception), since 2024-05-01 12:00:02 UTC (" in (capsys.readouterr().out)
    assert books.call("why", "index", "a", "--json") == 0
    assert conditions(capsys) == {
        "required index.reports": True,
        "inhibits index.done": True,
        "required index.summary_done": True,
        "success index.summary_done": False,
    }


def test_why_says_that_a_task_is_disabled(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.summary.disabled = True
    assert books.call("why", "summary", "a", "--json") == 0
    assert conditions(capsys)["enabled"] is False


def test_why_knows_a_ready_repository_that_was_given(capsys: Captured) -> None:
    ready = InProcessMetadataRepository({"a": None})
    pipeline = Pipeline([InProcessSyncTask("t", InProcessMetadataRepository({"a": None}), ready)], Session())
    for job, expected in (("a", True), ("b", False)):
        assert call(pipeline, "why", "t", job, "--json") == 0
        assert conditions(capsys) == {"ready": expected}
    assert call(pipeline, "why", "t") == 0
    assert capsys.readouterr().out.startswith("1 job: ready to start\n")


def test_why_follows_a_translator(capsys: Captured) -> None:
    names = InProcessMetadataRepository({"mine": "theirs", "odd": None})
    first = InProcessSyncTask("first", InProcessMetadataRepository({"theirs": FAILED}))
    first.link("out", InProcessBlobRepository(), is_output=True)
    second = InProcessSyncTask("second", InProcessMetadataRepository())
    second.plug(first, translator=names)
    pipeline = Pipeline([first, second], Session())
    assert call(pipeline, "why", "second", "mine") == 0
    out = capsys.readouterr().out
    assert "missing from second.out: it stands for theirs, which is not there (first fills it: see " in out
    assert " days) (have it done again: rm first.done theirs, then run)" in out
    assert call(pipeline, "why", "second", "odd") == 0
    assert "its translator names no job for it" in capsys.readouterr().out


def test_why_says_what_cannot_be_told(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b""
    books.summary.link("lost", Offline(), is_input=True)
    assert books.call("why", "summary", "a") == 4
    out = capsys.readouterr().out
    assert "summary a: cannot be told" in out
    assert "?    summary.lost cannot be asked: The store at offline: does not answer." in out
    assert "yes  in summary.texts" in out


def test_why_groups_the_jobs_of_all_inputs_by_cause(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update(dict.fromkeys("abcdefgh", b""))
    books.done.data.update(dict.fromkeys("abcd", FAILED) | {"e": record()})
    assert books.call("why", "summary") == 0
    assert capsys.readouterr().out == (
        "5 jobs: ended already (summary.done)\n"
        "  for example a, b, c, ...\n"
        "  to have it done again: rm summary.done JOB\n"
        "3 jobs: ready to start\n"
        "  for example f, g, h\n"
    )
    books.reports.data["e"] = b""
    assert books.call("why", "index", "--json") == 0
    groups = document(capsys)["groups"]
    assert [(group["ready"], group["jobs"], group["causes"]) for group in groups] == [
        (False, 4, ["summary failed: failure (exception)", "missing from index.reports"]),
        (True, 1, []),
    ]


def test_why_with_nothing_in_any_input_has_a_code_of_its_own(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("why", "summary") == 5
    assert capsys.readouterr() == ("", "No controller runs.\nNo input of summary holds a job.\n")


def test_why_with_an_unreachable_store(books: MemoryBooks, capsys: Captured) -> None:
    books.summary.link("lost", Offline(), is_input=True)
    assert books.call("why", "summary") == 4
    assert "does not answer" in capsys.readouterr().err


def test_why_of_an_unknown_task_comes_with_a_suggestion(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("why", "sumary") == 2
    assert "Did you mean summary?" in capsys.readouterr().err


def test_a_users_own_repository_is_looked_at_like_any_other(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "lines").write_text("a\nb\nno/job\n")
    task = InProcessSyncTask("t", InProcessMetadataRepository())
    task.link("lines", Lines(tmp_path / "lines"), is_input=True)
    pipeline = Pipeline([task], Session())
    assert call(pipeline, "status") == 0
    assert "t.lines 2\n" in capsys.readouterr().out
    assert call(pipeline, "why", "t", "b") == 0
    assert "ready to start" in capsys.readouterr().out


def attempt(number: int, second: int, **more: Any) -> dict[str, Any]:
    """Make a stored attempt that failed after a second."""
    start = datetime(2024, 5, 1, 12, 0, second, tzinfo=UTC)
    failed = {"result": "failure", "cause": "exception", "exception": "ValueError: no", "attempt": number}
    return {**failed, "start_time": start, "end_time": start + timedelta(seconds=1), "host": "here", **more}


def test_trace_shows_every_attempt_of_a_run_that_ended(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = {**attempt(3, 20), "attempts": [attempt(1, 0), attempt(2, 10, host="there")]}
    assert books.call("trace", "a") == 0
    out = capsys.readouterr().out
    assert "summary  failure (exception): ValueError: no, attempt 3, started 2024-05-01 12:00:20 UTC" in out
    assert "attempt 1: failure (exception): ValueError: no, started 2024-05-01 12:00:00 UTC, took 1.0 s, on here" in out
    assert (
        "attempt 2: failure (exception): ValueError: no, started 2024-05-01 12:00:10 UTC, took 1.0 s, on there" in out
    )
    assert books.call("trace", "a", "--json") == 0
    (summary, _) = json.loads(capsys.readouterr().out)["jobs"][0]["tasks"]
    assert [(one["attempt"], one["cause"], one["seconds"]) for one in summary["attempts"]] == [
        (1, "exception", 1.0),
        (2, "exception", 1.0),
    ]


def test_trace_shows_attempts_so_far_and_orders_tasks_by_the_first_of_them(capsys: Captured) -> None:
    attempts = InProcessMetadataRepository({"a": [attempt(1, 30), attempt(2, 50, next_attempt=datetime.now(UTC))]})
    early = InProcessMetadataRepository({"a": {**attempt(2, 40), "attempts": [attempt(1, 0)]}})
    second = InProcessSyncTask("second", InProcessMetadataRepository(), attempts=attempts)
    first = InProcessSyncTask("first", early)
    for task in (second, first):
        task.link("texts", InProcessMetadataRepository({"a": {}}), is_input=True)
    assert call(Pipeline([second, first], Session()), "trace", "a") == 0
    out = capsys.readouterr().out
    assert out.index("  first ") < out.index("  second  no run has ended")
    assert "attempt 2: failure (exception): ValueError: no, started 2024-05-01 12:00:50 UTC" in out


def test_trace_takes_attempts_that_are_none_as_they_are(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = {**attempt(1, 0), "attempts": ["odd", 3], "start_time": datetime(2024, 5, 1)}
    books.index_done.data["a"] = attempt(1, 10)
    assert books.call("trace", "a") == 0
    assert "attempt 1: success" in capsys.readouterr().out
