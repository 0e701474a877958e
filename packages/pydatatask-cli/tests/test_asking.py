"""What ``why`` and ``status`` say of jobs while another process runs the pipeline, and what when none does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_books import call
from cli_process import DEADLINE, Place, Running
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from pydatatask_core.pipeline.lease import Lease

WAITING = "flaky a: waits for a retry\n  attempt 1 failed (exception: ValueError: a is not to my taste); the next"
JOBS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("waiting"))
    for job in JOBS:
        place.write("texts", job)
    yield place
    place.end_all()


@pytest.fixture(scope="module")
def run(place: Place) -> Running:
    """A run in which everything waits, in a process of its own."""
    run = place.start("waiting", "run")
    run.wait_for("next attempt in", 4)
    return run


def told(place: Place, *words: str) -> dict[str, Any]:
    found = place.script("waiting", *words, "--json")
    assert found.code == 0, found
    document: dict[str, Any] = json.loads(found.out)
    assert document["schema_version"] == 1
    return document


def job_in(place: Place, task: str, kind: str) -> str:
    """Give a job of a task that stands so."""
    return next(
        str(crowd["examples"][0])
        for crowd in told(place, "why", task)["standings"]
        if crowd["standing"]["kind"] == kind
    )


@pytest.mark.slow
def test_why_names_a_quota_that_is_waited_for(place: Place, run: Running) -> None:
    job = job_in(place, "heavy", "quota")
    found = place.script("waiting", "why", "heavy", job)
    assert found.code == 0
    assert found.out.startswith(
        f"heavy {job}: waits for a quota\n  waits for cpu: it needs 1 cpu, 1Gi mem, and 2 cpu, "
    )
    assert "yes  in heavy.texts" in found.out
    assert found.err.startswith(f"Process {run.process.pid} on ")
    document = told(place, "why", "heavy", job)
    assert document["standing"]["lacking"] == "cpu"
    assert document["controller"]["pid"] == run.process.pid
    assert document["controller"]["answers"]


@pytest.mark.slow
def test_why_names_a_retry_that_is_waited_for_and_a_run_that_is_live(place: Place, run: Running) -> None:
    found = place.script("waiting", "why", "flaky", "a")
    assert WAITING in found.out
    live = place.script("waiting", "why", "heavy", job_in(place, "heavy", "live"))
    assert ": running\n  running since 2" in live.out
    assert "attempt 1" in live.out


@pytest.mark.slow
def test_why_of_a_task_groups_what_its_jobs_wait_for(place: Place, run: Running) -> None:
    found = place.script("waiting", "why", "narrow")
    assert "4 jobs: ready, as far as their stores go" in found.out
    assert "3 jobs: waiting for their turn: 1 jobs are live" in found.out
    assert "1 job: running, the first since" in found.out
    aside = place.script("waiting", "why", "huge")
    assert "4 jobs: not tried again before the next run: Job JOB of task huge can never start" in aside.out


@pytest.mark.slow
def test_trace_shows_live_runs_and_what_is_waited_for(place: Place, run: Running) -> None:
    live = job_in(place, "heavy", "live")
    found = place.script("waiting", "trace", live)
    assert "heavy   running since 2" in found.out
    assert "flaky   waits for a retry\n    attempt 1: failure (exception): ValueError: " in found.out
    tasks = {task["task"]: task for task in told(place, "trace", live)["jobs"][0]["tasks"]}
    assert tasks["heavy"]["standing"]["attempt"] == 1
    assert len(tasks["flaky"]["attempts"]) == 1


@pytest.mark.slow
def test_status_says_how_jobs_stand(place: Place, run: Running) -> None:
    found = place.script("waiting", "status")
    assert "heavy: 2 running, 2 waiting for cpu" in found.err
    assert "flaky: 4 waiting for a retry (exception), the first due in" in found.err
    standings = told(place, "status")["standings"]
    assert {crowd["standing"]["kind"] for crowd in standings["narrow"]} == {"live", "queued"}


@pytest.mark.slow
def test_why_tells_what_the_stores_know_when_no_controller_runs(place: Place, run: Running) -> None:
    run.end()
    found = place.script("waiting", "why", "flaky", "a")
    assert found.err == "No controller runs.\n"
    assert WAITING in found.out
    assert told(place, "why", "flaky", "a")["controller"] is None
    assert "it can never start: it needs 16 cpu, 1Gi mem, and the whole quota is 2 cpu, 4Gi mem" in (
        place.script("waiting", "why", "huge", "a").out
    )
    assert "heavy a: ready to start\n" in place.script("waiting", "why", "heavy", "a").out
    # The killed controller's socket is no obstacle to the next one, which keeps to what was planned.
    place.start("waiting", "run")
    assert "attempt 1 failed (exception: ValueError" in wait_for_retry(place)


def wait_for_retry(place: Place) -> str:
    """Ask until the new controller answers, and has seen what its stores hold."""
    until = time.monotonic() + DEADLINE
    while True:
        found = place.script("waiting", "why", "flaky", "a")
        if found.err.startswith("Process") and "attempt 1 failed" in found.out:
            return found.out
        assert time.monotonic() < until, found


def test_a_lease_tells_on_which_host_the_controller_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    leases = InProcessMetadataRepository(
        {"controller.1": {"host": "elsewhere.example", "pid": 77, "since": "2024-05-01T12:00:00+00:00"}}
    )
    task = InProcessSyncTask("only", InProcessMetadataRepository())
    task.link("texts", InProcessMetadataRepository({"a": {}}), is_input=True)
    pipeline = Pipeline([task], Session(), lock=Lease(leases))
    assert call(pipeline, "why", "only", "a") == 0
    told = capsys.readouterr()
    assert "Process 77 on elsewhere.example runs the pipeline since 2024-05-01 12:00:00 UTC" in told.err
    assert "ask on elsewhere.example, where it runs" in told.err
    assert "only a: ready to start" in told.out
