from __future__ import annotations

import asyncio
import math
import subprocess
import sys

import pytest

from tools.bench.cases.growth import growth, measured, table
from tools.bench.harness import REPEATS, Lap, Memory, compare
from tools.checks.steps import ROOT


@pytest.mark.slow
def test_every_case_can_be_had_and_an_unknown_one_is_a_usage_error() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tools.bench", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    cases = list((ROOT / "tools" / "bench" / "cases").glob("[a-z]*.py"))
    known = result.stderr.rpartition("There are: ")[2].strip(" .\n").split(", ")
    assert len(known) == len(cases) > 0


async def test_both_sides_are_measured_in_turns_and_only_while_the_watch_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    order: list[str] = []

    async def ours(lap: Lap) -> None:
        order.append("ours")
        assert list(lap.folder.iterdir()) == []
        (lap.folder / "left").write_text("by the last lap")
        lap.cpu_seconds = 2.0

    async def bare(lap: Lap) -> None:
        order.append("bare")
        lap.cpu_seconds = 1.0

    assert await compare(100, ours, bare) == {
        "amount": 100,
        "per_cpu_second": 50,
        "bare_per_cpu_second": 100,
        "ratio": 0.5,
    }
    assert order == ["ours", "bare"] * REPEATS
    assert "ours 1/5: 2.000 s" in capsys.readouterr().err


async def test_waiting_costs_no_cpu_time_and_work_does() -> None:
    lap = Lap(ROOT)
    with lap.timed():
        await asyncio.sleep(0)
    idle = lap.cpu_seconds
    with lap.timed():
        sum(range(1_000_000))
    assert lap.cpu_seconds > idle


async def test_the_cpu_time_of_ended_children_counts() -> None:
    lap = Lap(ROOT)
    with lap.timed():
        subprocess.run([sys.executable, "-c", "sum(range(2_000_000))"], check=True)
    alone = Lap(ROOT)
    with alone.timed():
        pass
    assert lap.cpu_seconds > alone.cpu_seconds


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_peak_that_is_gone_again_is_seen_once() -> None:
    memory = Memory()
    block = bytearray(b"x" * (50 * 1024 * 1024))
    del block
    assert memory.peak_mib() > 45
    assert memory.peak_mib() < 45


def test_growth_is_against_n_log_n_and_counts_what_each_job_costs_for_all_of_them() -> None:
    sizes = (1000, 10_000)
    n_log_n = 10_000 * math.log(10_000) / (1000 * math.log(1000))
    rows = [{"first look, s": 1.0, "run, us": 5.0}, {"first look, s": n_log_n, "run, us": 5.0}]
    assert growth("first look, s", sizes, rows) == pytest.approx([1, 1])
    assert growth("run, us", sizes, rows) == pytest.approx([1, 10 / n_log_n])
    quadratic = [{"first look, s": 1.0}, {"first look, s": 100.0}]
    assert growth("first look, s", sizes, quadratic)[1] > 7
    assert table(sizes, rows).splitlines() == [
        "| jobs | first look, s | run, us |",
        "|---|---|---|",
        "| 1,000 | 1 (1) | 5 (1) |",
        "| 10,000 | 13.33 (1) | 5 (0.75) |",
    ]


async def test_growth_is_measured_for_any_number_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.bench.cases.growth.MOST", 1)
    row = await measured(30, events=3)
    assert set(row) == {"first look, s", "idle round, us", "event, us", "run, us", "memory of a job, bytes"}
    assert all(value > 0 for value in row.values())
