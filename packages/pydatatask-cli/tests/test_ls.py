"""``ls``: which jobs, how they are printed, and how mistakes are met."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from cli_books import MemoryBooks, call
from cli_stores import Offline
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from typing_extensions import override

Captured = pytest.CaptureFixture[str]


def fill(books: MemoryBooks) -> None:
    books.texts.data.update(dict.fromkeys(["b", "c", "a", "d"], b""))
    books.done.data.update(dict.fromkeys(["a", "b"], None))
    books.reports.data.update(dict.fromkeys(["a", "x"], b""))


@pytest.mark.parametrize(
    ("expression", "jobs"),
    [
        (["summary.texts"], "abcd"),
        (["summary.texts - summary.done"], "cd"),
        (["summary.texts", "-", "summary.done"], "cd"),
        (["summary.texts & summary.reports"], "a"),
        (["summary.done | index.reports"], "abx"),
        (["(summary.done | summary.reports) - summary.texts"], "x"),
        (["summary.texts & [ab]"], "ab"),
        (["summary.texts - 'a'"], "bcd"),
        (["summary.reports | index.reports"], "ax"),
    ],
)
def test_ls_prints_the_jobs_of_an_expression_sorted(
    books: MemoryBooks, capsys: Captured, expression: list[str], jobs: str
) -> None:
    fill(books)
    assert books.call("ls", *expression) == 0
    assert capsys.readouterr() == ("".join(f"{job}\n" for job in jobs), "")


def test_ls_streams_every_job_once(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("ls", "--stream", "summary.texts | summary.reports") == 0
    assert sorted(capsys.readouterr().out.split()) == ["a", "b", "c", "d", "x"]


def test_ls_counts(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("ls", "--count", "summary.texts") == 0
    assert books.call("ls", "--count", "--json", "summary.texts") == 0
    assert books.call("ls", "--count", "summary.texts & z*") == 5
    out = capsys.readouterr().out
    assert out.startswith("4\n{")
    assert out.endswith("}\n0\n")


def test_ls_prints_json_lines(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("ls", "--json", "summary.done") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"schema_version": 1, "job": "a"}, {"schema_version": 1, "job": "b"}]


def test_ls_of_nothing_has_a_code_of_its_own(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("ls", "summary.texts") == 5
    assert capsys.readouterr() == ("", "Nothing matched.\n")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("summary.text", "Did you mean texts?"),
        ("sumary.texts", "Did you mean summary.texts"),
        ("summary.texts & index.zzz", "There is: done, reports, summary_done, words."),
        ("summary", "quotes around a job id"),
        ("summary.texts &", "missing here"),
        ("summary.texts - eval('1')", "quotes around a job id: 'eval'"),
    ],
)
def test_ls_says_what_is_wrong_and_where(books: MemoryBooks, capsys: Captured, expression: str, said: str) -> None:
    assert books.call("ls", expression) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.splitlines()[-1].strip() == "^"


def test_ls_of_an_unreachable_store_never_looks_like_an_empty_one(books: MemoryBooks, capsys: Captured) -> None:
    books.summary.link("lost", Offline())
    assert books.call("ls", "summary.texts | summary.lost") == 4
    assert "does not answer" in capsys.readouterr().err


class Counted(InProcessBlobRepository):
    listings = 0

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        self.listings += 1
        async for page in super().pages():
            yield page


def test_ls_lists_each_repository_once() -> None:
    texts = Counted({"a": b"", "b": b""})
    again = Counted(texts.data)
    task = InProcessSyncTask("t", InProcessMetadataRepository({"a": None}))
    task.link("texts", texts, is_input=True)
    task.link("again", again, is_input=True)
    assert call(Pipeline([task], Session()), "ls", "(t.texts | t.again) & t.texts - t.done") == 0
    assert texts.listings + again.listings == 1
