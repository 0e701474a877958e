"""Bad input is met well: what is wrong is named, with what to do about it, and the rest of the work goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pydatatask
import pytest
import yaml
from bucket_server import BucketServer
from programs import QUICKSTART, call, pipeline_file, run

NOTES = pipeline_file("notes")
COPIES = pipeline_file("copies")
COMMAND = Path(sys.executable).with_name("pydatatask")

BROKEN_YAML = "text: [never, closed\n"


def test_objects_whose_names_are_no_job_ids_are_left_out_and_told_once(server: BucketServer, tmp_path: Path) -> None:
    foreign = ("no good.txt", "-dash.txt", "caf\u00e9.txt", f"{'a' * 64}.txt")
    server.put("books", {"good.txt": b"Good.\n", "other.pdf": b"%PDF", **dict.fromkeys(foreign, b"?\n")})

    ended = run(QUICKSTART, "run", cwd=tmp_path, env=server.environment())

    assert ended.code == 0, ended.err
    assert names_in(tmp_path / "reports") == names_in(tmp_path / "results") == {"good"}
    assert ended.err.count(f"skipped {len(foreign)} stored keys that are no job ids") == 1
    assert "s3://books/*.txt" in ended.err


def test_a_value_that_is_broken_yaml_fails_its_job_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path / "notes", {"bad.yaml": BROKEN_YAML, "one.yaml": "text: a\n", "two.yaml": "text: bb\n"})

    ended = run(NOTES, "run", cwd=tmp_path)

    assert ended.code == 1
    assert "bad" in ended.err
    record = yaml.safe_load((tmp_path / "measured" / "bad.yaml").read_text())
    assert (record["result"], record["cause"]) == ("failure", "exception")
    assert "MalformedValueError" in record["exception"]
    assert "'bad'" in record["exception"]
    assert str(tmp_path / "notes") in record["exception"]
    assert values_in(tmp_path / "doubles") == {"one": 2, "two": 4}


def test_a_done_record_that_is_broken_yaml_holds_its_job_back_and_the_others_go_on(tmp_path: Path) -> None:
    write(tmp_path / "notes", {f"{name}.yaml": "text: abc\n" for name in ("bad", "one", "two")})
    write(tmp_path / "measured", {"bad.yaml": BROKEN_YAML})
    write(tmp_path / "lengths", {"bad.yaml": "3\n"})

    ended = run(NOTES, "run", cwd=tmp_path)

    assert ended.code == 1
    assert "'bad'" in ended.err
    assert str(tmp_path / "measured") in ended.err
    assert values_in(tmp_path / "doubles") == {"one": 6, "two": 6}


def test_a_blob_that_is_not_utf_8_fails_its_job_and_the_others_go_on(server: BucketServer, tmp_path: Path) -> None:
    server.put("books", {"good.txt": b"Good.\n", "latin.txt": "Caf\u00e9.\n".encode("latin-1")})

    ended = run(QUICKSTART, "run", cwd=tmp_path, env=server.environment())

    assert ended.code == 1
    record = yaml.safe_load((tmp_path / "results" / "latin.yaml").read_text())
    assert (record["result"], record["cause"]) == ("failure", "exception")
    for words in ("MalformedValueError", "'latin'", "s3://books/*.txt", "not UTF-8"):
        assert words in record["exception"]
    assert names_in(tmp_path / "reports") == {"good"}


BEGINNING = """
import pydatatask

books = pydatatask.FileRepository("books")
reports = pydatatask.FileRepository("reports")
done = pydatatask.YamlMetadataFileRepository("done")


async def summary(job, books, reports):
    pass


def task(name, func=summary):
    return pydatatask.InProcessSyncTask(name, done, func=func)
"""

UNFIT = {
    "a parameter without a link": (
        "one = task('one')\none.link('books', books, is_input=True)\ntasks = [one]",
        ("'one'", "'reports'", "one.link('reports'", "done, books"),
    ),
    "two tasks of one name": (
        "tasks = [task('one'), task('one')]",
        ("Two tasks", "'one'", "Rename one"),
    ),
    "a task that nothing can start": (
        "one = task('one')\none.link('books', books)\none.link('reports', reports, is_output=True)\ntasks = [one]",
        ("Nothing can start task 'one'", "is_input=True"),
    ),
    "a task that would start for ever": (
        "one = pydatatask.InProcessSyncTask('one', None, func=summary)\n"
        "one.link('books', books, is_input=True)\none.link('reports', reports, is_output=True)\ntasks = [one]",
        ("'one'", "start for ever", "inhibits_start=True"),
    ),
}


@pytest.mark.parametrize("mistake", UNFIT)
def test_a_pipeline_that_cannot_work_is_refused_before_anything_is_touched(tmp_path: Path, mistake: str) -> None:
    body, told = UNFIT[mistake]
    ending = "\npipeline = pydatatask.Pipeline(tasks, pydatatask.Session())\n"
    script = tmp_path / "unfit.py"
    script.write_text(BEGINNING + body + ending)

    ended = call(str(COMMAND), "-p", str(script), "run", cwd=tmp_path)

    assert ended.code == 3, ended.err
    for words in told:
        assert words in ended.err
    assert "Traceback" not in ended.err
    assert {entry.name for entry in tmp_path.iterdir()} - {"__pycache__"} == {"unfit.py"}


VERBS_ON_JOBS = {
    "cat": ("cat", "measure.lengths", "@"),
    "inject": ("inject", "measure.lengths", "@"),
    "launch": ("launch", "measure", "@"),
    "rm": ("rm", "--yes", "measure.lengths", "@"),
    "trace": ("trace", "@"),
    "why": ("why", "measure", "@"),
}


@pytest.mark.parametrize("verb", VERBS_ON_JOBS)
def test_an_invalid_job_id_is_refused_by_every_verb(tmp_path: Path, verb: str) -> None:
    words = ["../escape" if word == "@" else word for word in VERBS_ON_JOBS[verb]]

    ended = run(NOTES, *words, cwd=tmp_path)

    assert ended.code == 2, ended.err
    assert "'../escape' is no valid job id" in ended.err
    assert "Use 1 to 63 letters" in ended.err
    assert list(tmp_path.iterdir()) == []


CALLS: dict[str, Callable[[pydatatask.Pipeline, str], Awaitable[object]]] = {
    "cat_data": lambda pipeline, job: pydatatask.cat_data(pipeline, "summary.books", job),
    "delete_data": lambda pipeline, job: pydatatask.delete_data(pipeline, "summary.books", False, [job]),
    "inject_data": lambda pipeline, job: pydatatask.inject_data(pipeline, "summary.books", job),
    "launch": lambda pipeline, job: pydatatask.launch(pipeline, "summary", job, True, True, True),
    "print_trace": lambda pipeline, job: pydatatask.print_trace(pipeline, False, [job]),
}


@pytest.mark.parametrize("name", CALLS)
async def test_an_invalid_job_id_is_refused_by_every_function_for_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    done = pydatatask.YamlMetadataFileRepository(tmp_path / "done")
    started: list[str] = []

    @pydatatask.InProcessSyncTask("summary", done)
    async def summary(job: str, books: pydatatask.FileRepository) -> None:
        started.append(job)

    summary.link("books", pydatatask.FileRepository(tmp_path / "books"), is_input=True)
    outside = tmp_path / "escape"
    outside.touch()
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        async with pydatatask.Pipeline([summary], pydatatask.Session()) as pipeline:
            with pytest.raises(pydatatask.JobIdError, match="Use 1 to 63 letters"):
                await CALLS[name](pipeline, "../escape")

    assert not started
    assert outside.exists()
    assert [entry for entry in tmp_path.rglob("*") if entry.is_file()] == [outside]


PRIVATE_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Tell whether a small file system can be made here, seen by one program alone."""
    if shutil.which("unshare") is None:
        return False
    mount = (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=64k",
        "none",
        "/mnt",
    )
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


FULL_DISK = """
mount -t tmpfs -o size=1m none copies || exit 99
"$0" "$1" run || exit 98
mv later/* inputs
"$0" "$1" run
code=$?
cp -a copies kept
exit $code
"""
"""One job has room, and those that come later have not, all of them together. What the disk holds is kept for us."""


@pytest.mark.skipif(not can_mount(), reason="needs unshare, and user namespaces that may mount a tmpfs")
def test_a_full_disk_fails_jobs_with_that_cause_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    for folder in ("inputs", "later", "copies"):
        (tmp_path / folder).mkdir()
    (tmp_path / "inputs" / "early.txt").touch()
    late = {f"late-{number}" for number in range(5)}
    for job in late:
        (tmp_path / "later" / f"{job}.txt").touch()

    ended = call(*PRIVATE_MOUNTS, "sh", "-c", FULL_DISK, sys.executable, str(COPIES), cwd=tmp_path)

    assert ended.code == 1, ended.err
    records = values_in(tmp_path / "copy_done")
    assert set(records) == late | {"early"}
    failed = {job: record for job, record in records.items() if record["result"] != "success"}
    assert failed
    for record in failed.values():
        assert (record["result"], record["cause"]) == ("failure", "exception")
        assert "StoreFullError" in record["exception"]
        assert str(tmp_path / "copies") in record["exception"]
    kept = {file.name: file.read_text() for file in (tmp_path / "kept").iterdir()}
    assert set(kept) == {f"{job}.txt" for job in set(records) - set(failed)}
    assert "early.txt" in kept
    assert {len(text) for text in kept.values()} == {40 * 8192}
    assert names_in(tmp_path / "folders") == set(records) - set(failed)


def write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


def names_in(folder: Path) -> set[str]:
    """Give what is in a folder, hidden or not, without extensions."""
    return {entry.stem for entry in folder.iterdir()}


def values_in(folder: Path) -> dict[str, Any]:
    return {file.stem: yaml.safe_load(file.read_text()) for file in folder.iterdir()}
