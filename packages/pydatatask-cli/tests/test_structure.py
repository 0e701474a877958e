"""``graph``, ``validate`` and ``completion``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_books import MemoryBooks, call
from cli_stores import Files, Offline
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
)
from typing_extensions import override

Captured = pytest.CaptureFixture[str]


def test_graph_shows_tasks_upstream_first_with_what_goes_in_and_out(books: MemoryBooks, capsys: Captured) -> None:
    pipeline = Pipeline([books.index, books.summary], Session())
    assert call(pipeline, "graph") == 0
    assert capsys.readouterr() == (
        "summary (InProcessSyncTask)\n"
        "  <- texts    input\n"
        "  -> done     status, inhibits the start, to index\n"
        "  -> reports  output, to index\n"
        "\n"
        "index (InProcessSyncTask)\n"
        "  <- reports       input, from summary\n"
        "  -> done          status, inhibits the start\n"
        "  -> words         output\n"
        "  <- summary_done  required, success of summary\n"
        "\n",
        "",
    )


def test_graph_for_graphviz(books: MemoryBooks, capsys: Captured) -> None:
    books.summary.link("blocked", InProcessBlobRepository(), inhibits_start=True)
    assert books.call("graph", "--format", "dot") == 0
    out = capsys.readouterr().out
    assert out.startswith("digraph pipeline {\n")
    assert out.endswith("}\n")
    assert out.count("shape=box") == 2
    assert out.count("shape=cylinder") == 6
    assert out.count(" -> ") == 8
    assert 'label="summary.reports +1"' in out
    assert 'label="inhibits"' in out


def test_graph_for_mermaid(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("graph", "--format", "mermaid") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "flowchart LR"
    assert sum(bool(re.fullmatch(r"  [rt]\d+ -\.?->? [rt]\d+|  [rt]\d+ --> [rt]\d+", line)) for line in lines) >= 5


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_graph_is_a_json_document(books: MemoryBooks, capsys: Captured, options: list[str]) -> None:
    assert books.call("graph", *options) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema_version"] == 1
    assert [task["name"] for task in data["tasks"]] == ["summary", "index"]
    assert len(data["repositories"]) == 5
    links = {link["name"]: link for link in data["links"]}
    assert links["index.summary_done"]["requires_success"] is True
    assert links["summary.reports"]["location"] == links["index.reports"]["location"]


def test_graph_asks_no_store(books: MemoryBooks) -> None:
    books.summary.link("lost", Offline(), is_input=True)
    assert books.call("graph") == 0


# validate


def test_validate_says_that_all_is_well(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("validate") == 0
    assert capsys.readouterr() == ("2 tasks and 5 repositories: ready to run.\n", "")


def test_validate_makes_what_a_run_would_make(tmp_path: Path) -> None:
    task = InProcessSyncTask("t", InProcessMetadataRepository(), func=_nothing)
    task.link("files", Files(tmp_path / "files"), is_input=True)
    assert call(Pipeline([task], Session()), "validate") == 0
    assert (tmp_path / "files").is_dir()


async def _nothing(job: str) -> None:
    return


def broken() -> Pipeline:
    """One task without a function, and one that nothing can start."""
    one = InProcessSyncTask("one", InProcessMetadataRepository())
    one.link("jobs", InProcessBlobRepository(), is_input=True)
    two = InProcessSyncTask("two", InProcessMetadataRepository(), func=_nothing)
    return Pipeline([one, two], Session())


def test_validate_lists_everything_that_is_wrong(capsys: Captured) -> None:
    assert call(broken(), "validate") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(".")[0] for line in err.splitlines()] == [
        "Error: Task 'one' has no function",
        "Error: Nothing can start task 'two': it has no link that is required for start",
    ]


def test_validate_lists_everything_that_is_wrong_as_json(capsys: Captured) -> None:
    assert call(broken(), "validate", "--json") == 3
    data = json.loads(capsys.readouterr().out)
    assert data["valid"] is False
    assert len(data["problems"]) == 2


def test_run_of_a_broken_pipeline_starts_nothing(capsys: Captured) -> None:
    assert call(broken(), "run") == 3
    assert capsys.readouterr().err.count("Error: ") == 2


def test_validate_of_an_unreachable_store(books: MemoryBooks, capsys: Captured) -> None:
    class Unreachable(Offline):
        @override
        async def validate(self) -> None:
            raise self._fail()

    books.summary.link("lost", Unreachable())
    assert books.call("validate") == 4
    assert "does not answer" in capsys.readouterr().err


def test_validate_deep_compares_records_with_outputs(books: MemoryBooks, capsys: Captured) -> None:
    success, failure = {"result": "success"}, {"result": "failure", "cause": "exit"}
    books.done.data.update({"fine": success, "lost1": success, "lost2": success, "failed": failure})
    books.reports.data.update({"fine": b"", "stray": b""})
    assert books.call("validate", "--deep") == 1
    assert capsys.readouterr().out == (
        "2 tasks and 5 repositories: ready to run.\n"
        "summary.reports: 2 jobs missing, though recorded as done successfully: lost1, lost2\n"
        "summary.reports: 1 job there without a done record: stray\n"
    )
    assert books.call("validate", "--deep", "--json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["kind"] for finding in findings] == ["done without output", "output without done"]
    assert findings[0]["examples"] == ["lost1", "lost2"]


def test_validate_deep_of_what_a_run_left(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"x", "b": b"bad"})
    assert books.call("run") == 1
    capsys.readouterr()
    assert books.call("validate", "--deep") == 0
    assert capsys.readouterr().out.endswith("Done records and outputs agree.\n")


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_this_program(books: MemoryBooks, capsys: Captured, shell: str) -> None:
    assert books.call("completion", shell) == 0
    out = capsys.readouterr().out
    assert "_MAIN_PY_COMPLETE" in out
    assert "main.py" in out


def test_completion_is_for_the_shell_in_use(
    books: MemoryBooks, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert books.call("completion") == 0
    assert "complete --no-files --command main.py" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/odd")
    assert books.call("completion") == 2
    assert "Say bash, zsh or fish" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("main.py la", ["launch"]),
        ("main.py launch ", ["summary", "index"]),
        ("main.py why i", ["index"]),
        ("main.py cat summary.", ["summary.done", "summary.texts", "summary.reports"]),
        ("main.py rm ind", ["index.done", "index.summary_done", "index.reports", "index.words", "index"]),
        ("main.py ls summary.t", ["summary.texts"]),
        ("main.py graph --format m", ["mermaid"]),
        ("main.py run --fo", ["--forever"]),
    ],
)
def test_a_shell_completes_names(
    books: MemoryBooks, capsys: Captured, monkeypatch: pytest.MonkeyPatch, words: str, expected: list[str]
) -> None:
    monkeypatch.setenv("_MAIN_PY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert books.call() == 0
    assert [line.partition(",")[2] for line in capsys.readouterr().out.splitlines()] == expected
