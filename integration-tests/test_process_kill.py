"""A controller of scripts killed at any instant and started again: each ran once, and nothing is left over."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from programs import pipeline_file, run, started, wait_until

pytestmark = pytest.mark.slow

SCRIPTS = pipeline_file("scripts")
JOBS = [f"job-{number}.x" for number in range(50)]
LINES = 1500


@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 5), *(pytest.param(seed, 20, marks=pytest.mark.campaign) for seed in range(1, 11))]
)
def test_killed_at_random_instants_while_scripts_run(tmp_path: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    for name in ("pauses", "inputs"):
        (tmp_path / name).mkdir()
    for job in JOBS:
        (tmp_path / "pauses" / f"{job}.yaml").write_text(f"{chance.uniform(0, 0.1 * kills):.2f}\n")
        (tmp_path / "inputs" / job).write_text(f"input of {job}\n")

    under_way = 0
    for _ in range(kills):
        live_until_killed(tmp_path, chance)
        under_way += bool(set(begun(tmp_path)) - ended(tmp_path))
    last = run(SCRIPTS, "run", cwd=tmp_path)

    assert last.code == 0, last.err
    assert under_way, "no kill found a run under way"
    assert Counter(begun(tmp_path)) == Counter(JOBS)
    for job in JOBS:
        record = yaml.safe_load((tmp_path / "done" / f"{job}.yaml").read_text())
        assert record["result"] == "success", record
        assert record["attempt"] == 1
        lines = (tmp_path / "outputs" / job).read_text().splitlines()
        assert sorted(lines[:2]) == [f"input of {job}", "to stderr"]
        assert lines[-1].startswith(f"{job} line {LINES - 1} ")
        assert len(lines) == LINES + 2
        assert (tmp_path / "results" / job / "name").read_text() == f"{job}\n"
    wait_until(lambda: left_over(tmp_path) == [], "nothing is left over")


def live_until_killed(folder: Path, chance: random.Random) -> None:
    """Start a controller and kill it at a random instant, most often while scripts begin or end."""
    before = len(begun(folder)) + len(ended(folder))
    with started(SCRIPTS, "run", cwd=folder) as controller:
        if before < 2 * len(JOBS) and chance.random() < 0.8:
            more = before + chance.randint(1, 5)
            wait_until(
                lambda: len(begun(folder)) + len(ended(folder)) >= more or controller.poll() is not None, "progress"
            )
            time.sleep(chance.uniform(0, 0.05))
        else:
            time.sleep(chance.uniform(0, 1.5))
        controller.send_signal(signal.SIGKILL)
        controller.wait()


def begun(folder: Path) -> list[str]:
    witness = folder / "witness"
    return witness.read_text().splitlines() if witness.exists() else []


def ended(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("done/[!.]*.yaml")}


def left_over(folder: Path) -> list[str]:
    """Give the folders, records and processes that should be gone."""
    runs = [str(path) for path in (folder / "base" / "kills").rglob("*") if path.name not in {".new", ".old"}]
    # A hidden file of a writer that was killed is no record; repositories sweep it when it is a day old.
    records = [str(path) for path in folder.glob("pids/[!.]*")]
    mark = str(folder / "base").encode()
    processes = [str(path) for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _read(path)]
    return [*runs, *records, *processes]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
