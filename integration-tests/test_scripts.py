"""Scripts on this machine, from the command line: watched, killed, taken back, left and found again."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import DEADLINE, pipeline_file, run, started, wait_until

pytestmark = pytest.mark.slow

COUNTING = pipeline_file("counting")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the pipeline is run. Whatever still runs in the end is let go."""
    (tmp_path / "inputs").mkdir()
    for job in ("a", "b"):
        (tmp_path / "inputs" / job).touch()
    yield tmp_path
    for entry in (tmp_path / "inputs").iterdir():
        (tmp_path / f"go-{entry.name}").touch()


@contextmanager
def running(folder: Path, *live: str) -> Iterator[subprocess.Popen[str]]:
    """Run the pipeline, and wait until these jobs are live and have written something."""
    with started(COUNTING, "run", cwd=folder) as controller:
        wait_until(lambda: live_jobs(folder) >= set(live), f"{live} are live", controller)
        for job in live:
            wait_until(partial(has_written, folder, job), f"{job} has written something")
        yield controller


def output_of(folder: Path, job: str) -> Path:
    return folder / "base" / "counting" / f"count@{job}" / "1" / "stdout"


def has_written(folder: Path, job: str) -> bool:
    output = output_of(folder, job)
    return output.exists() and output.stat().st_size > 0


def live_jobs(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("pids/[!.]*.yaml")}


def record(folder: Path, job: str) -> dict[str, Any]:
    file = folder / "done" / f"{job}.yaml"
    wait_until(file.exists, f"{job} is done")
    data = yaml.safe_load(file.read_text())
    assert isinstance(data, dict)
    return data


def claims(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "base" / "counting").glob("*@*"))


def test_kill_records_a_cancellation_while_the_pipeline_runs(folder: Path) -> None:
    with running(folder, "a", "b"):
        killed = run(COUNTING, "kill", "count", "a", cwd=folder)
        # The record is the controller's to write. Whoever kills waits for it half a minute beyond the grace.
        assert killed.code == 0 or "has not recorded it yet" in killed.err, killed.err
        assert record(folder, "a")["result"] == "cancelled"
        wait_until(lambda: live_jobs(folder) == {"b"}, "the other one alone is live")


def test_kill_records_a_cancellation_while_nobody_runs_the_pipeline(folder: Path) -> None:
    with running(folder, "a", "b") as controller:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    killed = run(COUNTING, "kill", "count", "a", "b", cwd=folder)
    assert killed.code == 0, killed.err
    assert record(folder, "a")["result"] == record(folder, "b")["result"] == "cancelled"
    assert claims(folder) == []
    assert run(COUNTING, "kill", "count", "a", cwd=folder).code == 5


def test_deleting_the_live_record_ends_a_run_without_a_record_and_it_starts_again(folder: Path) -> None:
    with running(folder, "a", "b"):
        before = yaml.safe_load((folder / "pids" / "a.yaml").read_text())
        dropped = run(COUNTING, "rm", "--yes", "count.pids", "a", cwd=folder)
        assert dropped.code == 0, dropped.err
        wait_until(
            lambda: (
                "a" in live_jobs(folder)
                and (folder / "pids" / "a.yaml").exists()
                and yaml.safe_load((folder / "pids" / "a.yaml").read_text())["pid"] != before["pid"]
            ),
            "a runs again",
        )
        assert not (folder / "done" / "a.yaml").exists()


def test_a_live_record_that_disappears_is_written_again_and_nothing_is_killed(folder: Path) -> None:
    with running(folder, "a"):
        before = (folder / "pids" / "a.yaml").read_text()
        (folder / "pids" / "a.yaml").unlink()
        wait_until(lambda: "a" in live_jobs(folder), "the record is back")
        assert (folder / "pids" / "a.yaml").read_text() == before
        (folder / "go-a").touch()
        assert record(folder, "a")["result"] == "success"


def test_interrupted_once_leaves_runs_and_the_next_run_ends_them(folder: Path) -> None:
    with running(folder, "a", "b") as controller:
        controller.send_signal(signal.SIGINT)
        assert controller.wait(DEADLINE) == 130
    assert live_jobs(folder) == {"a", "b"}
    for job in ("a", "b"):
        (folder / f"go-{job}").touch()
    ended = run(COUNTING, "run", cwd=folder)
    assert ended.code == 0, ended.err
    lines = (folder / "out" / "a").read_text().splitlines()
    assert lines == [f"a {n}" for n in range(1, len(lines) + 1)]
    assert claims(folder) == []
    assert live_jobs(folder) == set()


def test_update_starts_what_fits_and_comes_back(folder: Path) -> None:
    (folder / "inputs" / "c").touch()
    assert run(COUNTING, "update", cwd=folder).code == 0
    wait_until(lambda: len(claims(folder)) == 2, "two of three were started")
    assert run(COUNTING, "update", cwd=folder).code == 0
    assert len(claims(folder)) == 2
    for job in ("a", "b", "c"):
        (folder / f"go-{job}").touch()
    assert run(COUNTING, "run", cwd=folder).code == 0
    assert {record(folder, job)["result"] for job in ("a", "b", "c")} == {"success"}


def test_logs_are_live_first_and_stored_afterwards(folder: Path) -> None:
    with running(folder, "a"):
        live = run(COUNTING, "logs", "count", "a", cwd=folder)
        assert live.out.startswith("a 1\na 2\n")
        assert run(COUNTING, "logs", "count", "a", "--stderr", cwd=folder).out.startswith("to stderr\n")
        with started(COUNTING, "logs", "-f", "count", "a", cwd=folder) as log:
            wait_until(lambda: "a 3\n" in (folder / "output.log").read_text(), "it is followed", log)
            (folder / "go-a").touch()
            assert log.wait(DEADLINE) == 0
        record(folder, "a")
    stored = (folder / "out" / "a").read_text()
    assert run(COUNTING, "logs", "count", "a", cwd=folder).out == stored
    assert stored.splitlines()[-1] in (folder / "output.log").read_text()
    assert run(COUNTING, "logs", "count", "unknown", cwd=folder).code == 5


def test_retry_clears_what_failed_as_asked(folder: Path) -> None:
    for job in ("bad1", "bad2"):
        (folder / "inputs" / job).touch()
    for job in ("a", "b", "bad1", "bad2"):
        (folder / f"go-{job}").touch()
    assert run(COUNTING, "run", cwd=folder).code == 1
    assert run(COUNTING, "retry", "count", "--cause", "timeout", "--yes", cwd=folder).code == 5
    dry = run(COUNTING, "retry", "count", "--cause", "exit", "--dry-run", "--json", cwd=folder)
    assert [json.loads(line)["job"] for line in dry.out.splitlines()] == ["bad1", "bad2"]
    assert run(COUNTING, "retry", "count", cwd=folder).code == 2, "nobody was asked"
    assert run(COUNTING, "retry", "count", "bad1", "a", "--yes", cwd=folder).code == 0
    assert sorted(file.stem for file in folder.glob("done/*.yaml")) == ["a", "b", "bad2"]


def test_validate_tells_of_runs_that_nobody_waits_for(folder: Path) -> None:
    for claim in ("gone@x", "count@y"):
        (folder / "base" / "counting" / claim / "1").mkdir(parents=True)
        (folder / "base" / "counting" / claim / "claim").write_text("somebody word\n")
    found = run(COUNTING, "validate", "--deep", "--json", cwd=folder)
    assert found.code == 1
    kinds = {(finding["kind"], finding["examples"][0]) for finding in json.loads(found.out)["findings"]}
    assert kinds == {("unknown task", "x"), ("foreign run", "y")}


def test_a_run_of_another_pipeline_is_named_and_the_others_go_on(folder: Path) -> None:
    (folder / "base" / "counting" / "count@a" / "1").mkdir(parents=True)
    (folder / "base" / "counting" / "count@a" / "claim").write_text("somebody word\n")
    (folder / "go-b").touch()
    ended = run(COUNTING, "run", cwd=folder)
    assert ended.code == 1
    assert "another pipeline" in ended.err
    assert record(folder, "b")["result"] == "success"
    assert claims(folder) == ["count@a"]
