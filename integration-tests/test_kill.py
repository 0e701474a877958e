"""A controller killed at any instant and started again: nothing is lost or done twice, and no half value is seen."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from programs import pipeline_file, run, started, wait_until

pytestmark = pytest.mark.slow

COPIES = pipeline_file("copies")
PIECES, PIECE = 40, 8192
JOBS_PER_KILL = 10
"""Each is started by three tasks, so there is work left for every kill after at most 20 starts."""
TASKS = ("copy", "fold", "pack")
"""In the controller's own process, in its threads, and in processes of its own."""

Run = tuple[str, str]
"""A task's name and a job."""
Start = tuple[Run, str]
"""What was started, and the controller that did."""


# A campaign kills two hundred times, in tests that each end before they are taken to hang.
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 8), *(pytest.param(seed, 20, marks=pytest.mark.campaign) for seed in range(1, 11))]
)
def test_killed_at_random_instants_and_started_again(tmp_path: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    jobs = [f"job-{number}" for number in range(kills * JOBS_PER_KILL)]
    make_inputs(tmp_path, jobs)

    with watched(tmp_path) as halves:
        for _ in range(kills):
            before, done = starts_in(tmp_path), done_in(tmp_path)
            live_until_killed(tmp_path, chance)
            audit(starts_in(tmp_path), before, done)
        before, done = starts_in(tmp_path), done_in(tmp_path)
        ended = run(COPIES, "run", cwd=tmp_path)
        audit(starts_in(tmp_path), before, done)

    assert ended.code == 0, ended.err
    assert halves == []
    started_again = {task for (task, _), times in Counter(run for run, _ in starts_in(tmp_path)).items() if times > 1}
    assert started_again if kills < 20 else started_again == set(TASKS), "no kill found a run under way"
    assert done_in(tmp_path) == {(task, job) for task in TASKS for job in jobs}
    for job in jobs:
        assert copy_is_whole(tmp_path / "copies" / f"{job}.txt")
        assert folder_is_whole(tmp_path / "folders" / job)
        assert copy_is_whole(tmp_path / "packs" / f"{job}.txt")


def live_until_killed(folder: Path, chance: random.Random) -> None:
    """Start a controller and kill it at a random instant, most often while work is under way."""
    before = len(starts_in(folder))
    with started(COPIES, "run", cwd=folder) as controller:
        if chance.random() < 0.1:
            # Now and then before anything was started.
            time.sleep(chance.uniform(0, 0.5))
        else:
            starts = before + chance.randint(1, 20)
            wait_until(lambda: len(starts_in(folder)) >= starts, f"{starts - before} runs were started", controller)
            time.sleep(chance.uniform(0, 0.02))
        controller.send_signal(signal.SIGKILL)
        controller.wait()


def audit(starts: list[Start], before: list[Start], done: set[Run]) -> None:
    """No controller starts anything twice, and nothing is started that was done before.

    So a run is started once, and once more for each kill that found it under way.
    """
    twice = [start for start, times in Counter(starts).items() if times > 1]
    assert not twice, f"started twice by one controller: {twice}"
    assert not done & {run for run, _ in starts[len(before) :]}, "started again although it was done"


def make_inputs(folder: Path, jobs: list[str]) -> None:
    (folder / "inputs").mkdir()
    for job in jobs:
        (folder / "inputs" / f"{job}.txt").touch()


def starts_in(folder: Path) -> list[Start]:
    """Give what was started so far, in order."""
    log = folder / "starts.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [((task, job), controller) for task, job, controller in map(str.split, lines)]


def done_in(folder: Path) -> set[Run]:
    return {(task, file.stem) for task in TASKS for file in folder.glob(f"{task}_done/[!.]*.yaml")}


@contextmanager
def watched(folder: Path) -> Iterator[list[Path]]:
    """Read each value as soon as its key appears, from a thread, and collect those that were not whole then."""
    halves: list[Path] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(folder, halves, stop))
    watcher.start()
    try:
        yield halves
    finally:
        stop.set()
        watcher.join()


def _watch(folder: Path, halves: list[Path], stop: threading.Event) -> None:
    checks = {
        "copies": copy_is_whole,
        "folders": folder_is_whole,
        "packs": copy_is_whole,
        "copy_done": record_is_whole,
        "fold_done": record_is_whole,
        "pack_done": record_is_whole,
    }
    seen: set[Path] = set()
    last = False
    while not last:
        # Once more after the end, for what appeared since the last look.
        last = stop.wait(0.001)
        for name, is_whole in checks.items():
            for value in set(folder.glob(f"{name}/[!.]*")) - seen:
                seen.add(value)
                if not is_whole(value):
                    halves.append(value)


def copy_is_whole(file: Path) -> bool:
    return file.read_text() == "".join(piece(file.stem, number) for number in range(PIECES))


def folder_is_whole(folder: Path) -> bool:
    found = {file.name: file.read_text() for file in folder.iterdir()}
    return found == {f"{number}.txt": piece(folder.name, number) for number in range(PIECES)}


def record_is_whole(file: Path) -> bool:
    record = yaml.safe_load(file.read_text())
    return isinstance(record, dict) and record["result"] == "success" and record["end_time"] >= record["start_time"]


def piece(job: str, number: int) -> str:
    return f"{job} {number} ".ljust(PIECE - 1, ".") + "\n"
