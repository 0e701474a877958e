"""Ctrl-C and SIGTERM on a real process."""

from __future__ import annotations

import os
import signal
import time

import pytest
from cli_process import DEADLINE, Place

pytestmark = pytest.mark.slow

SAID = "Starting nothing more"


def prepare(place: Place, jobs: int = 2) -> None:
    os.mkfifo(place.folder / "gate")
    for number in range(jobs):
        place.write("texts", f"job{number}")


def release(place: Place) -> None:
    with open(place.folder / "gate", "wb", buffering=0) as gate:
        gate.write(b"x")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_lets_what_runs_end_and_starts_nothing_more(place: Place, number: signal.Signals) -> None:
    prepare(place)
    run = place.start("gated", "run", KIND="waits")
    run.wait_for("began")
    run.interrupt(number)
    run.wait_for(SAID)
    release(place)
    assert run.code() == 130
    assert run.err.count("began") == 1
    assert "work: 1 done" in run.err
    assert len(place.jobs("done")) == 1


def test_the_second_signal_cancels_what_runs(place: Place) -> None:
    prepare(place)
    run = place.start("gated", "run", KIND="waits")
    run.wait_for("began")
    run.interrupt()
    run.wait_for(SAID)
    run.interrupt()
    assert run.code() == 130
    assert "left" in run.err
    assert run.err.count("began") == 1
    assert place.jobs("done") == []
    assert "Traceback" not in run.err


@pytest.mark.parametrize("kind", ["blocks", "thread", "process"])
def test_the_second_signal_ends_the_process_even_if_something_stays_busy(place: Place, kind: str) -> None:
    prepare(place)
    run = place.start("gated", "run", KIND=kind)
    run.wait_for("began")
    run.interrupt()
    run.wait_for("keeps the event loop busy" if kind == "blocks" else SAID)
    began = time.monotonic()
    run.interrupt()
    assert run.code() == 130
    assert time.monotonic() - began < 30
    assert place.jobs("done") == []
    assert "Interrupted." in run.err


def test_a_third_signal_ends_the_process_at_once(place: Place) -> None:
    prepare(place)
    # Were it left to the second one, it would end after this.
    run = place.start("gated", "run", KIND="blocks", GRACE="600")
    run.wait_for("began")
    # Signals that come faster than they are handled count as one.
    deadline = time.monotonic() + DEADLINE
    while run.process.poll() is None:
        assert time.monotonic() < deadline
        run.interrupt()
        time.sleep(0.1)
    assert run.code() == 130


@pytest.mark.parametrize("kind", ["waits", "thread", "process"])
def test_a_timeout_ends_the_run_even_if_something_stays_busy(place: Place, kind: str) -> None:
    prepare(place)
    run = place.start("gated", "run", "--timeout", "1", KIND=kind)
    assert run.code() == 124
    assert "not done after 1.0 seconds" in run.err
    assert place.jobs("done") == []


def test_an_interrupted_launch_leaves_no_record(place: Place) -> None:
    prepare(place)
    run = place.start("gated", "launch", "work", "job0", KIND="waits")
    run.wait_for("began")
    run.interrupt()
    assert run.code() == 130
    assert "left job0" in run.err
    assert place.jobs("done") == []


def test_run_forever_goes_on_until_it_is_interrupted(place: Place) -> None:
    prepare(place, jobs=1)
    run = place.start("gated", "run", "--forever", KIND="waits")
    run.wait_for("began job0")
    release(place)
    run.wait_for("left job0")
    place.write("texts", "late")
    run.wait_for("began late")
    run.interrupt()
    release(place)
    assert run.code() == 130
    assert place.jobs("done") == ["job0", "late"]
