"""Processes that race for the lock of a pipeline, are killed while they hold it, and are paused for too long."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from bucket_server import BucketServer
from programs import pipeline_file, started, wait_until

pytestmark = pytest.mark.slow

CONTENDER = pipeline_file("contender")
TERM = 1.5
"""Seconds. The holder of a lease stops a third of it before others may have it."""

SHARED = 20.0
"""Seconds that a process may wait for its turn, where many share few cores."""

ELSEWHERE = 2 * TERM + SHARED
"""Seconds in which a lease is free whose holder died on another machine: its last sign of life must be a term old
before anybody watches it for a term.
"""
HERE = SHARED
"""Seconds in which a lock is free whose holder died on this machine. It is free at once."""

Contenders = dict[str, subprocess.Popen[str]]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("kind", ["files", "s3", "lockfile"])
def test_there_are_never_two_holders_and_a_killed_one_is_followed_in_time(
    tmp_path: Path, server: BucketServer, kind: str, kills: int
) -> None:
    chance = random.Random(kills)
    race = Race(tmp_path, kind, server.environment())
    with race.between(10 if kind == "lockfile" else 6):
        for kill in range(kills):
            race.someone_holds()
            time.sleep(chance.uniform(0, 0.2))
            # Whoever holds it by now.
            killed = race.someone_holds()
            race.kill(killed)
            begun = time.monotonic()
            race.somebody_but(killed)
            took = time.monotonic() - begun
            # A bucket that all of them ask takes its time.
            bound = HERE if race.is_here(killed) and kind != "s3" else ELSEWHERE
            assert took < bound, f"kill {kill}: {took:.1f} s"
    race.audit()


@pytest.mark.slow
@pytest.mark.parametrize("pauses", [1, pytest.param(10, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("kind", ["files", "s3"])
def test_a_holder_that_was_paused_for_too_long_launches_nothing_more(
    tmp_path: Path, server: BucketServer, kind: str, pauses: int
) -> None:
    race = Race(tmp_path, kind, server.environment())
    with race.between(3):
        for _ in range(pauses):
            paused = race.someone_holds()
            race.processes[paused].send_signal(signal.SIGSTOP)
            race.somebody_but(paused)
            race.processes[paused].send_signal(signal.SIGCONT)
            # Back in the race, where nobody promises that it wins: the others may always be faster.
            race.someone_holds()
            assert race.processes[paused].poll() is None
    race.audit()


class Race:
    """Contenders in one folder. Every second one is on this machine, for all the others know."""

    def __init__(self, folder: Path, kind: str, environment: Mapping[str, str]) -> None:
        self.processes: Contenders = {}
        self._folder = folder
        self._kind = kind
        self._environment = {**environment, "XDG_STATE_HOME": str(folder / "state")}
        self._hosts: dict[str, str] = {}
        self._stack = ExitStack()
        self._count = 0

    @contextmanager
    def between(self, number: int) -> Iterator[None]:
        with self._stack:
            for _ in range(number):
                self._enter()
            yield

    def _enter(self) -> None:
        self._count += 1
        host = "here" if self._count % 2 or self._kind == "lockfile" else f"machine {self._count}"
        process = self._stack.enter_context(
            started(CONTENDER, self._kind, str(TERM), host, cwd=self._folder, env=self._environment)
        )
        self.processes[str(process.pid)] = process
        self._hosts[str(process.pid)] = host

    def is_here(self, pid: str) -> bool:
        return self._hosts[pid] == "here"

    def kill(self, pid: str) -> None:
        """Kill a contender, and let another one come."""
        self.processes[pid].kill()
        self.processes.pop(pid).wait()
        self._enter()

    def someone_holds(self) -> str:
        return self.somebody_but("nobody")

    def somebody_but(self, pid: str) -> str:
        holders = wait_until(lambda: self._holders() - {pid}, f"somebody but {pid} holds the lock")
        return holders.pop()

    def _holders(self) -> set[str]:
        try:
            return set((self._folder / "holder").read_text().split())
        except FileNotFoundError:
            return set()

    def audit(self) -> None:
        wrong = self._folder / "wrong.log"
        assert not wrong.exists(), wrong.read_text()
        assert len(set((self._folder / "launches.log").read_text().split())) > 1
