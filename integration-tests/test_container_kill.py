"""A controller of containers killed at any instant and started again: each ran once, and nothing is left over."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from docker_engine import Engine, engine_of_a_fresh_app
from programs import pipeline_file, run, started, wait_until

CONTAINERS = pipeline_file("containers")
LINES = 1500


@pytest.fixture
def engine() -> Iterator[Engine]:
    with engine_of_a_fresh_app() as found:
        yield found


@pytest.mark.parametrize(
    ("jobs", "kills", "shortest", "crowd", "seed"),
    [
        pytest.param(8, 6, 5.0, 4, 0, marks=pytest.mark.slow),
        # All twenty are live before the first of them ends.
        pytest.param(20, 30, 60.0, 20, 1, marks=pytest.mark.campaign),
    ],
)
def test_killed_at_random_instants_while_containers_run(
    tmp_path: Path, engine: Engine, jobs: int, kills: int, shortest: float, crowd: int, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"job-{number}.X" for number in range(jobs)]
    for folder in ("pauses", "inputs"):
        (tmp_path / folder).mkdir()
    for job in names:
        # A crowd of them lives at the first kill; some end while nobody is there.
        (tmp_path / "pauses" / f"{job}.yaml").write_text(f"{shortest + chance.uniform(0, 1.5 * kills):.2f}\n")
        (tmp_path / "inputs" / job).write_text(f"input of {job}\n")

    most = 0
    for kill in range(kills):
        live_until_killed(tmp_path, engine, chance, 0 if kill else crowd)
        most = max(most, engine.running())
    last = run(CONTAINERS, "run", cwd=tmp_path, env=engine.environment())

    assert last.code == 0, last.err
    print(f"at most {most} containers were live at a kill")
    assert most >= crowd
    wait_until(lambda: len(engine.begun) >= jobs, "the engine told of all")
    assert Counter(engine.begun) == Counter(names)
    for job in names:
        record = yaml.safe_load((tmp_path / "done" / f"{job}.yaml").read_text())
        assert record["result"] == "success", record
        assert record["attempt"] == 1
        lines = (tmp_path / "outputs" / job).read_text().splitlines()
        assert lines[:2] == ["to stderr", f"input of {job}"]
        assert lines[-1].startswith(f"{job} line {LINES - 1} ")
        assert len(lines) == LINES + 2
        assert (tmp_path / "results" / job / "name").read_text() == f"{job}\n"
    # An engine may be at a removal that a controller which was killed has asked for.
    wait_until(lambda: engine.containers() == [], "nothing is left over")
    assert list((tmp_path / "base").glob("*/*")) == []


def live_until_killed(folder: Path, engine: Engine, chance: random.Random, crowd: int) -> None:
    """Start a controller and kill it at a random instant, most often when something has just begun or ended.

    So many containers are to be live by then.
    """

    def progress() -> int:
        return len(engine.begun) + len(list(folder.glob("done/[!.]*.yaml")))

    before = progress()
    with started(CONTAINERS, "run", cwd=folder, env=engine.environment()) as controller:
        if chance.random() < 0.7:
            more = before + chance.randint(1, 3)
            wait_until(lambda: progress() >= more or controller.poll() is not None, "progress")
            time.sleep(chance.uniform(0, 0.3))
        else:
            time.sleep(chance.uniform(0, 3))
        wait_until(lambda: engine.running() >= crowd, "a crowd is live", controller)
        controller.send_signal(signal.SIGKILL)
        controller.wait()
