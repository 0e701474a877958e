"""A function that fails in every way there is, on the loop, in threads and in processes, and what comes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from programs import Ended, pipeline_file, run, started, wait_until

pytestmark = pytest.mark.slow

FAILURES = pipeline_file("failures")
SITES = ("loop", "threads", "processes")

RESULTS = {
    "raises": ("failure", "exception", "ValueError: on purpose"),
    "exits": ("failure", "exception", "SystemExit: 3"),
    "halts": ("failure", "exception", "HaltError: no Exception"),
    "interrupts": ("failure", "exception", "KeyboardInterrupt"),
    "is_cancelled": ("failure", "exception", "asyncio.exceptions.CancelledError"),
    "cancels_itself": ("failure", "exception", "asyncio.exceptions.CancelledError"),
    "cancels_itself_at_last": ("success", None, None),
    "child_exits": ("failure", "exception", "SystemExit: 3"),
    "overstays": ("timeout", "timeout", None),
    "blocks": ("timeout", "timeout", None),
    "returns_late": ("timeout", "timeout", None),
    "fails_late": ("timeout", "timeout", None),
    "is_unpicklable": ("failure", "exception", "UnpicklableError: "),
    "is_undecodable": ("failure", "exception", "FileNotFoundError: no file \\udcff\0"),
    "cannot_write": ("failure", "exception", "StoreUnavailableError: the disk is on fire"),
    "is_fine": ("success", None, None),
}
"""Result, cause, and what the exception contains, by the way in which the function ends."""

ON_THE_LOOP = RESULTS.keys() - {"interrupts", "child_exits", "blocks"}
"""On the controller's own loop the first two end the controller, as they end any program, and the last makes all others
late.
"""


@pytest.mark.slow
@pytest.mark.parametrize("retried", ["exception", "timeout"])
@pytest.mark.parametrize("site", SITES)
def test_each_way_to_fail_has_its_result_cause_attempts_and_downstream(tmp_path: Path, site: str, retried: str) -> None:
    ways = ON_THE_LOOP if site == "loop" else RESULTS.keys()
    ended = fail(tmp_path, *ways, SITE=site, CAUSES=retried)
    assert ended.code == 1, ended.err
    done = records(tmp_path, "fail_done")
    assert done.keys() == ways
    for way, record in done.items():
        result, cause, exception = RESULTS[way]
        assert (record["result"], record.get("cause")) == (result, cause), way
        assert (exception or "") in record.get("exception", ""), way
        attempts = 2 if cause == retried else 1
        assert record["attempt"] == attempts, way
        assert [earlier["cause"] for earlier in record.get("attempts", ())] == [retried] * (attempts - 1), way
    assert Counter(starts(tmp_path)) == {way: record["attempt"] for way, record in done.items()}
    assert records(tmp_path, "attempts") == {}
    successes = {way for way in ways if RESULTS[way][0] == "success"}
    assert records(tmp_path, "plugged_done").keys() == successes
    assert records(tmp_path, "beside_done").keys() == ways


@pytest.mark.slow
def test_a_function_that_blocks_the_loop_for_too_long_is_recorded_as_timeout(tmp_path: Path) -> None:
    assert fail(tmp_path, "blocks", SITE="loop", CAUSES="exception").code == 1
    record = records(tmp_path, "fail_done")["blocks"]
    assert (record["result"], record["cause"], record["attempt"]) == ("timeout", "timeout", 1)


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES)
def test_failure_ok_lets_what_is_plugged_in_start_however_it_failed(tmp_path: Path, site: str) -> None:
    ways = ON_THE_LOOP if site == "loop" else RESULTS.keys()
    fail(tmp_path, *ways, SITE=site, CAUSES="lost", FAILURE_OK="1")
    assert records(tmp_path, "plugged_done").keys() == ways


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES)
def test_fail_fast_starts_nothing_after_a_failure_and_the_next_run_does_the_rest(tmp_path: Path, site: str) -> None:
    jobs = [f"raises_after_the_first-{number}" for number in range(60)]
    assert fail(tmp_path, *jobs, SITE=site, CAUSES="lost", words=("run", "--fail-fast")).code == 1
    first = set(starts(tmp_path))
    assert len(first) < len(jobs)
    # What had begun was recorded; what had not is left to the next run.
    assert records(tmp_path, "fail_done").keys() == first
    fail(tmp_path, SITE=site, CAUSES="lost")
    assert Counter(starts(tmp_path)) == dict.fromkeys(jobs, 1)


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES)
def test_attempts_are_counted_on_by_the_controller_that_comes_after_a_killed_one(tmp_path: Path, site: str) -> None:
    settings = {"SITE": site, "CAUSES": "exception", "RETRIES": "4", "DELAY": "0.5"}
    make_jobs(tmp_path, "raises", "is_fine")
    # Each controller keeps one attempt, or more of them if it is killed late.
    while kept(tmp_path) < 3:
        with started(FAILURES, "run", cwd=tmp_path, env=settings) as controller:
            wait_until(partial(has_kept_more_than, tmp_path, kept(tmp_path)), "another attempt is kept", controller)
            assert "raises" not in records(tmp_path, "fail_done")
            controller.kill()
            controller.wait()
    run(FAILURES, "run", cwd=tmp_path, env=settings)
    record = records(tmp_path, "fail_done")["raises"]
    assert (record["result"], record["attempt"]) == ("failure", 5)
    assert [earlier["attempt"] for earlier in record["attempts"]] == [1, 2, 3, 4]
    assert Counter(starts(tmp_path)) == {"raises": 5, "is_fine": 1}
    assert records(tmp_path, "attempts") == {}


@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 2])
def test_a_killed_worker_process_loses_what_had_begun_and_nothing_else(tmp_path: Path, retries: int) -> None:
    fine = [f"is_fine-{number}" for number in range(200)]
    ended = fail(tmp_path, "is_killed", *fine, SITE="processes", CAUSES="lost", RETRIES=str(retries))
    done = records(tmp_path, "fail_done")
    assert done.keys() == {"is_killed", *fine}, ended.err
    killed = done["is_killed"]
    assert (killed["result"], killed["cause"], killed["attempt"]) == ("lost", "lost", retries + 1)
    assert Counter(starts(tmp_path))["is_killed"] == retries + 1
    # The pool takes its other worker with it, and what that one was at.
    lost = {job for job in fine if done[job]["result"] == "lost"}
    assert len(lost) <= (0 if retries else 1)
    assert lost <= set(starts(tmp_path))
    assert records(tmp_path, "plugged_done").keys() == set(fine) - lost


@pytest.mark.slow
def test_a_pool_whose_workers_cannot_start_is_told_and_nothing_is_recorded(tmp_path: Path) -> None:
    ended = fail(tmp_path, "is_fine", SITE="processes", CAUSES="lost", NO_WORKERS="1")
    assert ended.code != 0
    assert "See that its workers can start" in ended.err
    assert records(tmp_path, "fail_done") == {}
    fail(tmp_path, SITE="processes", CAUSES="lost")
    assert records(tmp_path, "fail_done")["is_fine"]["result"] == "success"


def fail(folder: Path, *jobs: str, words: tuple[str, ...] = ("run",), **settings: str) -> Ended:
    make_jobs(folder, *jobs)
    return run(FAILURES, *words, cwd=folder, env=settings)


def make_jobs(folder: Path, *jobs: str) -> None:
    (folder / "source").mkdir(exist_ok=True)
    for job in jobs:
        (folder / "source" / f"{job}.yaml").write_text("{}\n")


def records(folder: Path, name: str) -> Mapping[str, Any]:
    return {file.stem: yaml.safe_load(file.read_text()) for file in (folder / name).glob("[!.]*.yaml")}


def kept(folder: Path) -> int:
    return len(records(folder, "attempts").get("raises", ()))


def has_kept_more_than(folder: Path, number: int) -> bool:
    """Tell whether more attempts are kept, and the job that needs one has its record."""
    return kept(folder) > number and "is_fine" in records(folder, "fail_done")


def starts(folder: Path) -> list[str]:
    log = folder / "starts.log"
    return log.read_text().split() if log.exists() else []
