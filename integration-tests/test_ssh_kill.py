"""A controller of scripts over SSH killed at any instant and started again: each ran once, and nothing is left over."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from programs import pipeline_file, run, started, wait_until
from ssh_server import (  # type: ignore[import-not-found]  # with the tests of the member; see conftest
    PASSWORD,
    USER,
    SSHServer,
    ssh_server,
)

SCRIPTS = pipeline_file("remote_scripts")
JOBS_PER_KILL = 4
LINES = 1500


@pytest.fixture(scope="module")
def host() -> Iterator[SSHServer]:
    with ssh_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 3), *(pytest.param(seed, 10, marks=pytest.mark.campaign) for seed in range(1, 6))]
)
def test_killed_at_random_instants_while_scripts_run_over_ssh(
    tmp_path: Path, host: SSHServer, seed: int, kills: int
) -> None:
    chance = random.Random(seed)
    jobs = [f"job-{number}.x" for number in range(kills * JOBS_PER_KILL)]
    base = f"/tmp/kills-{seed}"
    witness = f"{base}.witness"
    prepare(tmp_path, host, base, witness)
    for job in jobs:
        (tmp_path / "pauses" / f"{job}.yaml").write_text(f"{chance.uniform(0, 2):.2f}\n")
        (tmp_path / "inputs" / job).write_text(f"input of {job}\n")

    under_way = 0
    for _ in range(kills):
        live_until_killed(tmp_path, host, witness, len(jobs), chance)
        under_way += bool(set(begun(host, witness)) - ended(tmp_path))
    last = run(SCRIPTS, "run", cwd=tmp_path)

    assert last.code == 0, last.err
    assert under_way, "no kill found a run under way"
    assert Counter(begun(host, witness)) == Counter(jobs)
    for job in jobs:
        record = yaml.safe_load((tmp_path / "done" / f"{job}.yaml").read_text())
        assert record["result"] == "success", record
        assert record["attempt"] == 1
        lines = (tmp_path / "outputs" / job).read_text().splitlines()
        assert sorted(lines[:2]) == [f"input of {job}", "to stderr"]
        assert lines[-1].startswith(f"{job} line {LINES - 1} ")
        assert len(lines) == LINES + 2
    wait_until(lambda: left_over(tmp_path, host, base) == [], "nothing is left over")


def prepare(folder: Path, host: SSHServer, base: str, witness: str) -> None:
    for name in ("pauses", "inputs"):
        (folder / name).mkdir()
    (folder / "known_hosts").write_bytes(host.known_hosts())
    login = {
        "username": USER,
        "password": PASSWORD,
        "client_keys": None,
        "known_hosts": str(folder / "known_hosts"),
    }
    where = {"host": host.address, "port": host.port, "base": base, "witness": witness, "login": login}
    (folder / "ssh.json").write_text(json.dumps(where))


def live_until_killed(folder: Path, host: SSHServer, witness: str, jobs: int, chance: random.Random) -> None:
    """Start a controller and kill it at a random instant, most often while scripts begin or end."""
    before = len(begun(host, witness)) + len(ended(folder))
    with started(SCRIPTS, "run", cwd=folder) as controller:
        if before < 2 * jobs and chance.random() < 0.8:
            more = before + chance.randint(1, 5)
            wait_until(
                lambda: len(begun(host, witness)) + len(ended(folder)) >= more or controller.poll() is not None,
                "progress",
            )
            time.sleep(chance.uniform(0, 0.05))
        else:
            time.sleep(chance.uniform(0, 3))
        controller.send_signal(signal.SIGKILL)
        controller.wait()


def begun(host: SSHServer, witness: str) -> list[str]:
    said: str = host.sh(f"[ ! -e {witness} ] || cat {witness}")
    return said.splitlines()


def ended(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("done/[!.]*.yaml")}


def left_over(folder: Path, host: SSHServer, base: str) -> list[str]:
    """Give the folders, records and processes that should be gone."""
    # What vanishes while it is looked at is not left.
    find = "{ find . -mindepth 1 ! -path ./.new ! -path ./.old 2>/dev/null || :; }"
    runs = host.sh(f"cd {base}/kills && {find}").splitlines()
    # A hidden file of a writer that was killed is no record; repositories sweep it when it is a day old.
    records = [str(path) for path in folder.glob("pids/[!.]*")]
    # Its own command line does not hold the name as a whole.
    program = (
        f"for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep '{base[:-1]}[{base[-1]}]/' || :; done"
    )
    return [*runs, *records, *host.sh(program).splitlines()]
