"""The coroutines of earlier releases, on a pipeline that a script has opened."""

from __future__ import annotations

import os
from pathlib import Path

import pydatatask_cli
import pytest
from cli_books import MemoryBooks
from pydatatask_cli.errors import UnknownNameError, UsageError
from pydatatask_cli.expression import ExpressionError
from pydatatask_core import InProcessBlobRepository
from pydatatask_core.errors import JobIdError, MissingJobError

Captured = pytest.CaptureFixture[str]


async def test_run_and_update(books: MemoryBooks) -> None:
    books.texts.data["a"] = b"hello"
    async with books.pipeline:
        await pydatatask_cli.update(books.pipeline)
        assert set(books.reports.data) == {"a"}
        await pydatatask_cli.run(books.pipeline, False, False, None)
    assert set(books.words.data) == {"a"}


async def test_launch_gives_what_earlier_releases_gave(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"hello", "b": b"bad"})
    async with books.pipeline:
        assert await pydatatask_cli.launch(books.pipeline, "summary", "a", False, True, False) == 0
        assert await pydatatask_cli.launch(books.pipeline, "summary", "a", False, True, False) == 1
        assert await pydatatask_cli.launch(books.pipeline, "summary", "a", True, False, True) == 0
        assert await pydatatask_cli.launch(books.pipeline, "summary", "b", False, True, False) == 1
        with pytest.raises(UnknownNameError, match="Did you mean summary"):
            await pydatatask_cli.launch(books.pipeline, "sumary", "a", False, True, False)
    assert capsys.readouterr().out == ""


async def test_print_status_prints_as_it_did(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"", "b": b""})
    books.summary.link("blocked", InProcessBlobRepository({"z": b""}), inhibits_start=True)
    async with books.pipeline:
        await pydatatask_cli.print_status(books.pipeline, False)
        assert capsys.readouterr().out == (
            "summary\nsummary.texts 2\nsummary.done 0\nsummary.reports 0\n\n"
            "index\nindex.reports 0\nindex.done 0\nindex.words 0\n\n"
        )
        await pydatatask_cli.print_status(books.pipeline, True)
        assert capsys.readouterr().out == (
            "summary\nsummary.texts 2\nsummary.done 0\nsummary.reports 0\nsummary.blocked 1\n\n"
            "index\nindex.reports 0\nindex.done 0\nindex.words 0\nindex.summary_done 0\n\n"
        )


async def test_print_trace_prints_as_it_did(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update({"a": b"", "b": b""})
    books.done.data["b"] = {"result": "success"}
    async with books.pipeline:
        await pydatatask_cli.print_trace(books.pipeline, False, ["b", "a", "c"])
    assert capsys.readouterr().out == (
        "summary\nsummary.texts b a\nsummary.done b\nsummary.reports\n\n"
        "index\nindex.reports\nindex.done\nindex.words\n\n"
    )


async def test_delete_data_deletes_and_prints(books: MemoryBooks, capsys: Captured) -> None:
    for repo in (books.texts, books.reports, books.words):
        repo.data.update(dict.fromkeys(["a", "b"], b""))
    async with books.pipeline:
        await pydatatask_cli.delete_data(books.pipeline, "summary.reports", False, ["a"])
        assert capsys.readouterr().out == "a summary.reports\n"
        await pydatatask_cli.delete_data(books.pipeline, "summary.texts", True, ["__all__"])
    assert capsys.readouterr().out.splitlines() == [
        "a index.words",
        "b index.words",
        "b summary.reports",
        "a summary.texts",
        "b summary.texts",
    ]
    assert books.texts.data == books.reports.data == books.words.data == {}


async def test_list_data_takes_an_expression(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data.update(dict.fromkeys(["b", "a", "c"], b""))
    books.reports.data["c"] = b""
    async with books.pipeline:
        await pydatatask_cli.list_data(books.pipeline, "summary.texts")
        await pydatatask_cli.list_data(books.pipeline, ["summary.texts", "-", "summary.reports"])
        with pytest.raises(ExpressionError):
            await pydatatask_cli.list_data(books.pipeline, "__import__('os')")
    assert capsys.readouterr().out == "a\nb\nc\na\nb\n"


async def test_cat_data_prints_a_value(books: MemoryBooks, capsys: Captured) -> None:
    books.texts.data["a"] = b"hello"
    books.done.data["a"] = {"result": "success"}
    async with books.pipeline:
        await pydatatask_cli.cat_data(books.pipeline, "summary.texts", "a")
        await pydatatask_cli.cat_data(books.pipeline, "summary.done", "a")
        with pytest.raises(MissingJobError):
            await pydatatask_cli.cat_data(books.pipeline, "summary.done", "b")
    assert capsys.readouterr().out == "helloresult: success\n"


async def test_inject_data_stores_standard_input(
    books: MemoryBooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").write_bytes(b"{a: 1}")
    async with books.pipeline:
        with open(tmp_path / "input") as source:
            monkeypatch.setattr("sys.stdin", source)
            await pydatatask_cli.inject_data(books.pipeline, "summary.texts", "a")
            os.lseek(source.fileno(), 0, os.SEEK_SET)
            await pydatatask_cli.inject_data(books.pipeline, "summary.done", "a")
        (tmp_path / "input").write_bytes(b"{a: ")
        with open(tmp_path / "input") as source:
            monkeypatch.setattr("sys.stdin", source)
            with pytest.raises(UsageError, match="Nothing was stored"):
                await pydatatask_cli.inject_data(books.pipeline, "summary.done", "b")
    assert books.texts.data == {"a": b"{a: 1}"}
    assert books.done.data == {"a": {"a": 1}}


@pytest.mark.parametrize("job", ["", "_x", "a/b", "a b", "x" * 64, "é", "-", "../a"])
async def test_an_invalid_job_id_is_refused_by_every_coroutine(books: MemoryBooks, job: str) -> None:
    pipeline = books.pipeline
    async with pipeline:
        for call in (
            lambda: pydatatask_cli.launch(pipeline, "summary", job, False, True, True),
            lambda: pydatatask_cli.print_trace(pipeline, False, ["a", job]),
            lambda: pydatatask_cli.delete_data(pipeline, "summary.texts", False, ["a", job]),
            lambda: pydatatask_cli.cat_data(pipeline, "summary.texts", job),
            lambda: pydatatask_cli.cat_data(pipeline, "summary.done", job),
            lambda: pydatatask_cli.inject_data(pipeline, "summary.texts", job),
        ):
            with pytest.raises(JobIdError):
                await call()
