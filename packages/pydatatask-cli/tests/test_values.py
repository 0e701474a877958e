"""``cat`` and ``inject``: what is stored and printed, and how mistakes are met."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_books import MemoryBooks, call
from cli_process import Place
from cli_stores import Files, Lines, YamlFiles
from pydatatask_core import (
    BlobRepository,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Repository,
    Session,
)
from pydatatask_core.streams import CHUNK

Captured = pytest.CaptureFixture[str]
CapturedBytes = pytest.CaptureFixture[bytes]


def over(**repos: Repository) -> Pipeline:
    task = InProcessSyncTask("t", InProcessMetadataRepository())(_nothing)
    for name, repo in repos.items():
        task.link(name, repo, is_input=True)
    return Pipeline([task], Session())


async def _nothing(job: str) -> None:
    return


@pytest.mark.parametrize("value", [b"", b"\xff\x00 no UTF-8 \r\n", bytes(range(256)) * (CHUNK // 100)])
def test_cat_prints_bytes_as_they_are(books: MemoryBooks, capsysbinary: CapturedBytes, value: bytes) -> None:
    books.texts.data["a"] = value
    assert books.call("cat", "summary.texts", "a") == 0
    assert capsysbinary.readouterr() == (value, b"")


def test_cat_prints_data_as_yaml(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = {"result": "success", "note": "two\nlines", "ok": True}
    assert books.call("cat", "summary.done", "a") == 0
    assert capsys.readouterr().out == "result: success\nnote: |-\n  two\n  lines\nok: true\n"


def test_cat_prints_data_as_json(books: MemoryBooks, capsys: Captured) -> None:
    books.done.data["a"] = {"result": "success", "bytes": b"\xff"}
    assert books.call("cat", "summary.done", "a", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema_version": 1,
        "repository": "summary.done",
        "job": "a",
        "value": {"result": "success", "bytes": "\\xff"},
    }


def test_cat_prints_what_a_repository_of_three_methods_knows(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "lines").write_text("a\nb\n")
    assert call(over(lines=Lines(tmp_path / "lines")), "cat", "t.lines", "b") == 0
    assert capsys.readouterr().out == "line: 1\n"


@pytest.mark.parametrize("link", ["summary.texts", "summary.done"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_cat_of_an_absent_job_has_a_code_of_its_own(
    books: MemoryBooks, capsys: Captured, link: str, options: list[str]
) -> None:
    assert books.call("cat", link, "nope", *options) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert "'nope'" in err


def test_cat_of_broken_data_names_repository_and_job(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a").write_text("{broken: [")
    pipeline = over(data=YamlFiles(tmp_path))
    assert call(pipeline, "cat", "t.data", "a") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "job 'a'" in err
    assert "<Files " in err
    assert "Traceback" not in err
    assert call(pipeline, "cat", "t.data", "a", "--raw") == 0
    assert capsys.readouterr().out == "{broken: ["


def test_cat_raw_wants_bytes(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("cat", "summary.done", "a", "--raw") == 2
    assert "stores no bytes" in capsys.readouterr().err


@pytest.mark.parametrize("value", [b"", b"\xff\x00 no UTF-8 \r\n", b"x" * (3 * CHUNK + 1)])
def test_inject_stores_bytes_as_they_are(books: MemoryBooks, tmp_path: Path, value: bytes) -> None:
    (tmp_path / "file").write_bytes(value)
    assert books.call("inject", "summary.texts", "a", str(tmp_path / "file")) == 0
    assert books.texts.data == {"a": value}


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, y]\n", {"a": 1, "b": ["x", "y"]}),
        ('{"a": {"b": null}}', {"a": {"b": None}}),
        ('"no"', "no"),
        ("1e5", 1e5),
        ("", None),
    ],
)
def test_inject_stores_data_from_yaml_or_json(books: MemoryBooks, tmp_path: Path, text: str, data: Any) -> None:
    (tmp_path / "file").write_text(text)
    assert books.call("inject", "summary.done", "a", str(tmp_path / "file")) == 0
    assert books.done.data == {"a": data}


@pytest.mark.parametrize("raw", [b"{a: [", b"!!python/object/apply:os.getcwd []", b"\xff\xfe\xff"])
def test_inject_of_what_is_no_data_stores_nothing(
    books: MemoryBooks, tmp_path: Path, capsys: Captured, raw: bytes
) -> None:
    (tmp_path / "file").write_bytes(raw)
    assert books.call("inject", "summary.done", "a", str(tmp_path / "file")) == 2
    assert "Nothing was stored" in capsys.readouterr().err
    assert books.done.data == {}


def test_inject_into_what_stores_nothing_is_refused(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "lines").write_text("a\n")
    assert call(over(lines=Lines(tmp_path / "lines")), "inject", "t.lines", "b", str(tmp_path / "lines")) == 2
    assert "neither bytes nor data" in capsys.readouterr().err


def test_inject_of_a_missing_file_is_a_mistake_of_use(books: MemoryBooks, capsys: Captured) -> None:
    assert books.call("inject", "summary.texts", "a", "/no/such/file") == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["cat", "inject"])
def test_unknown_names_come_with_a_suggestion(books: MemoryBooks, capsys: Captured, verb: str) -> None:
    assert books.call(verb, "summary.text", "a") == 2
    assert "Did you mean texts?" in capsys.readouterr().err
    assert books.call(verb, "summary", "a") == 2
    assert "write task.link" in capsys.readouterr().err


def test_a_pipe_is_stored_and_printed_part_by_part(place: Place) -> None:
    value = bytes(range(256)) * 4096
    assert place.script("books", "inject", "summary.texts", "a", stdin=value).code == 0
    assert (place.folder / "texts" / "a").read_bytes() == value


def test_values_go_through_a_link_that_changes_keys(capsys: Captured) -> None:
    blobs = InProcessBlobRepository({"base": b"value"})
    names = InProcessMetadataRepository({"mine": "base"})
    from pydatatask_core import RelatedItemRepository

    pipeline = over(related=RelatedItemRepository(blobs, names))
    assert isinstance(pipeline.tasks["t"].links["related"].repo, BlobRepository)
    assert call(pipeline, "cat", "t.related", "mine") == 0
    assert capsys.readouterr().out == "value"
    assert call(pipeline, "cat", "t.related", "base") == 5


def test_reading_makes_nothing(tmp_path: Path) -> None:
    pipeline = over(files=Files(tmp_path / "files"))
    for line in ("status", "ls t.files", "cat t.files a", "trace a", "why t", "why t a", "graph"):
        call(pipeline, *line.split())
    assert list(tmp_path.iterdir()) == []
