"""A bucket that is down when a pipeline is started, while other tasks need only files."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from bucket_server import prepared
from programs import DEADLINE, pipeline_file, run, started, wait_until

pytestmark = pytest.mark.slow

UPLOAD = pipeline_file("upload")
JOBS = ("one", "two", "three")


@pytest.fixture
def port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with jobs in it."""
    (tmp_path / "inputs").mkdir()
    for job in JOBS:
        (tmp_path / "inputs" / f"{job}.txt").write_text(job)
    return tmp_path


def down(port: int) -> dict[str, str]:
    """The environment of a pipeline whose server is not there yet. Servers that check no credentials take these."""
    return {
        "BUCKET_ENDPOINT": f"http://127.0.0.1:{port}",
        "BUCKET_USERNAME": "anybody",
        "BUCKET_PASSWORD": "anything",
    }


@pytest.mark.slow
def test_file_tasks_run_while_the_bucket_is_down_and_the_others_follow_when_it_is_up(folder: Path, port: int) -> None:
    # It gives up half a minute after the files are copied: time enough to open a port, and not to load a server.
    with (
        prepared(port=port) as serve,
        started(UPLOAD, "run", "--events", "events.log", cwd=folder, env=down(port)) as process,
    ):
        wait_until(lambda: sorted(ended(folder, "copy_done")) == sorted(JOBS), "files are copied", process)
        assert [event for event in events(folder) if event["event"] == "launched" and event["task"] == "upload"] == []
        server = serve()
        assert process.wait(DEADLINE) == 0
        # Both buckets were made, as at any opening.
        assert server.keys("uploads") == {f"{job}.txt" for job in JOBS}
        assert server.keys("records") == {f"{job}.yaml" for job in JOBS}
        assert run(UPLOAD, "run", cwd=folder, env=down(port)).err.startswith("Nothing to do.")
    kinds = [event["event"] for event in events(folder)]
    assert kinds.index("store_unreachable") < kinds.index("store_back")
    assert "answers again" in (folder / "output.log").read_text()


@pytest.mark.slow
def test_reading_verbs_name_the_bucket_that_is_down_and_show_the_rest(folder: Path, port: int) -> None:
    for words, shown in (
        (("status",), "copy.inputs 3"),
        (("status", "--json"), '"jobs": 3'),
        (("trace", "one"), "copy.inputs"),
        (("why", "upload", "one"), "in upload.inputs"),
        (("why", "upload"), "3 jobs"),
        (("run", "--dry-run"), "copy: 3 jobs would start now"),
    ):
        found = run(UPLOAD, *words, cwd=folder, env=down(port))
        assert found.code == 4, found
        assert shown in found.out
        assert str(port) in found.out + found.err, words


def ended(folder: Path, records: str) -> list[str]:
    return [file.stem for file in (folder / records).glob("*.yaml")] if os.path.exists(folder / records) else []


def events(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "events.log").read_text().splitlines()]
