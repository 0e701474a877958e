"""``rm``: what goes, in which order, and what it asks before."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_books import MemoryBooks, call
from cli_stores import Offline
from pydatatask_core import (
    AggregateOrRepository,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Repository,
    Session,
)
from typing_extensions import override

Captured = pytest.CaptureFixture[str]


def fill(books: MemoryBooks) -> None:
    for repo in (books.texts, books.reports, books.words):
        repo.data.update(dict.fromkeys(["a1", "a2", "b"], b""))
    for records in (books.done, books.index_done):
        records.data.update(dict.fromkeys(["a1", "a2", "b"], None))


def test_rm_deletes_jobs_and_patterns_from_one_repository(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("rm", "--yes", "summary.reports", "a*", "b") == 0
    assert capsys.readouterr() == (
        "",
        "To be deleted, in this order:\n  summary.reports: a1, a2, b\nDeleted 3.\n",
    )
    assert books.reports.data == {}
    assert len(books.texts.data) == len(books.done.data) == 3


def test_rm_of_a_task_deletes_from_all_that_it_fills(books: MemoryBooks) -> None:
    fill(books)
    assert books.call("rm", "-y", "summary", "b") == 0
    assert set(books.reports.data) == set(books.done.data) == {"a1", "a2"}
    assert len(books.texts.data) == len(books.words.data) == 3


def test_rm_recursive_deletes_downstream_first_and_records_last(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("rm", "-r", "--dry-run", "summary.texts", "b") == 0
    assert capsys.readouterr() == (
        "index.words b\nindex.done b\nsummary.reports b\nsummary.done b\nsummary.texts b\n",
        "",
    )
    assert len(books.words.data) == 3
    assert books.call("rm", "-r", "--yes", "summary.texts", "b") == 0
    for repo in (books.texts, books.reports, books.words, books.done, books.index_done):
        assert set(repo.data) == {"a1", "a2"}


class Logged(InProcessBlobRepository):
    log: list[str]

    @override
    async def delete(self, job: str, /) -> None:
        self.log.append(job)
        await super().delete(job)


def test_a_failure_upstream_comes_after_what_is_downstream_is_gone(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)

    class Stuck(InProcessBlobRepository):
        @override
        async def delete(self, job: str, /) -> None:
            raise OSError("stuck")

    books.summary.link("texts", Stuck(books.texts.data), is_input=True)
    assert books.call("rm", "-r", "-y", "summary.texts", "b") == 1
    assert "OSError: stuck" in capsys.readouterr().err
    assert "b" in books.texts.data
    assert "b" not in books.words.data
    assert "b" not in books.done.data


def test_rm_without_a_terminal_needs_yes(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("rm", "summary.reports", "a*") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "summary.reports: a1, a2" in err
    assert "Say --yes" in err
    assert len(books.reports.data) == 3


def test_rm_of_what_is_not_there_has_a_code_of_its_own(books: MemoryBooks, capsys: Captured) -> None:
    fill(books)
    assert books.call("rm", "--yes", "summary", "nope", "z*") == 5
    assert capsys.readouterr() == ("", "Nothing matched.\n")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("summary.report", "Did you mean reports?"),
        ("sumary", "Did you mean summary?"),
        ("other.reports", "There is no task 'other'"),
    ],
)
def test_rm_of_an_unknown_target_comes_with_a_suggestion(
    books: MemoryBooks, capsys: Captured, target: str, said: str
) -> None:
    assert books.call("rm", "--yes", target, "a") == 2
    assert said in capsys.readouterr().err


def test_rm_from_an_unreachable_store(books: MemoryBooks, capsys: Captured) -> None:
    books.summary.link("lost", Offline(), is_output=True)
    assert books.call("rm", "--yes", "summary.lost", "a") == 4
    assert "does not answer" in capsys.readouterr().err


def translated(allow_deletes: bool = False) -> tuple[Pipeline, dict[str, InProcessBlobRepository]]:
    """``parts`` makes jobs of its own from those of ``whole``: p1 and p2 from w, q from v."""
    names = InProcessMetadataRepository({"p1": "w", "p2": "w", "q": "v", "odd": None, "late": "nowhere"})
    stores = {
        "whole": InProcessBlobRepository({"w": b"", "v": b""}),
        "pieces": InProcessBlobRepository({"p1": b"", "p2": b"", "q": b"", "w": b""}),
        "sums": InProcessBlobRepository({"p1": b"", "q": b"", "w": b""}),
    }
    make = InProcessSyncTask("make", InProcessMetadataRepository({"w": None, "v": None}))
    make.link("whole", stores["whole"], is_output=True)
    parts = InProcessSyncTask("parts", InProcessMetadataRepository({"p1": None, "q": None}))
    parts.plug(make, translator=names, translate_allow_deletes=allow_deletes)
    parts.link("pieces", stores["pieces"], is_output=True)
    sums = InProcessSyncTask("sums", InProcessMetadataRepository())
    sums.plug(parts)
    sums.link("sums", stores["sums"], is_output=True)
    return Pipeline([sums, parts, make], Session()), stores


def test_rm_recursive_follows_keys_through_a_translator(capsys: Captured) -> None:
    pipeline, stores = translated()
    assert call(pipeline, "rm", "-r", "--dry-run", "make.whole", "w") == 0
    assert capsys.readouterr().out.splitlines() == [
        "sums.sums p1",
        "parts.pieces p1",
        "parts.pieces p2",
        "parts.done p1",
        "make.whole w",
    ]
    assert call(pipeline, "rm", "-r", "--yes", "make", "w") == 0
    assert set(stores["whole"].data) == {"v"}
    # What is called w there was not made from w.
    assert set(stores["pieces"].data) == {"q", "w"}
    assert set(stores["sums"].data) == {"q", "w"}


def test_rm_from_a_view_that_allows_it_deletes_what_is_behind_it(capsys: Captured) -> None:
    pipeline, stores = translated(allow_deletes=True)
    assert call(pipeline, "rm", "-r", "--yes", "parts.whole", "p1") == 0
    assert set(stores["whole"].data) == {"v"}
    # The other part was made from the same whole.
    assert set(stores["pieces"].data) == {"q", "w"}


def test_rm_from_a_view_that_does_not_allow_it_says_so(capsys: Captured) -> None:
    pipeline, stores = translated()
    assert call(pipeline, "rm", "--yes", "parts.whole", "p1") == 1
    assert "parts.whole is a view that does not let p1 be deleted" in capsys.readouterr().err
    assert set(stores["whole"].data) == {"w", "v"}


def test_rm_recursive_ends_on_a_cycle(capsys: Captured) -> None:
    one, two = (InProcessBlobRepository({"a": b"", "b": b""}) for _ in range(2))
    tasks = [InProcessSyncTask(name, InProcessMetadataRepository({"a": None})) for name in ("there", "back")]
    tasks[0].link("one", one, is_input=True)
    tasks[0].link("two", two, is_output=True)
    tasks[1].link("two", two, is_input=True)
    tasks[1].link("one", one, is_output=True)
    assert call(Pipeline(tasks, Session()), "rm", "-r", "-y", "there.one", "a") == 0
    assert set(one.data) == set(two.data) == {"b"}


def test_rm_recursive_does_not_take_what_only_inhibits_for_material(books: MemoryBooks) -> None:
    fill(books)
    blocked = InProcessBlobRepository({"b": b""})
    books.summary.link("blocked", blocked, inhibits_start=True)
    assert books.call("rm", "-r", "-y", "summary.blocked", "b") == 0
    assert blocked.data == {}
    assert "b" in books.reports.data


def test_rm_recursive_looks_behind_combinators(capsys: Captured) -> None:
    one, two, out = (InProcessBlobRepository({"a": b""}) for _ in range(3))
    either: Repository = AggregateOrRepository(one=one, two=two)
    first = InProcessSyncTask("first", InProcessMetadataRepository())
    first.link("out", one, is_output=True)
    second = InProcessSyncTask("second", InProcessMetadataRepository())
    second.link("either", either, is_input=True)
    second.link("out", out, is_output=True)
    pipeline = Pipeline([first, second], Session())
    assert call(pipeline, "rm", "-r", "--dry-run", "first.out", "a") == 0
    assert capsys.readouterr().out == "second.out a\nfirst.out a\n"
    assert call(pipeline, "rm", "-r", "-y", "second.either", "a") == 0
    assert one.data == two.data == out.data == {}


def test_many_jobs_are_not_all_shown(books: MemoryBooks, capsys: Captured, tmp_path: Path) -> None:
    books.texts.data.update({f"j{number:03}": b"" for number in range(300)})
    assert books.call("rm", "--yes", "summary.texts", "*") == 0
    assert "j009 and 290 more\nDeleted 300.\n" in capsys.readouterr().err
