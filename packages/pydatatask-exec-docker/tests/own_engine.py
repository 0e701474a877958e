"""A Docker engine of a test's own, which may be killed: in namespaces of its own, so the machine's is not touched."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import docker  # type: ignore[import-untyped]  # it has no type information
from containers import BUSYBOX, DEADLINE, App
from pydatatask_core.testing.services import service_missing

LOOK = 0.02
"""Seconds between two looks at what another process does."""

# Each line that it reads starts the engine, unless it runs. What lives in memory lives as long as this shell does.
MACHINE = """
mount -t tmpfs none /run || exit 1
while read -r _; do
    "$@" < /dev/null
done
"""


class OwnEngine:
    """An engine on a small machine: network, mounts and processes of its own, and a disk that outlives it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._disk = folder
        self.url = f"unix://{folder}/socket"
        self.client = docker.DockerClient(base_url=self.url, version="1.41", timeout=60)
        self._cgroup = f"pydatatask-test-{secrets.token_hex(4)}"
        self._command = [
            "dockerd",
            *(f"--host={self.url}", f"--data-root={folder}/data", "--exec-root=/run/docker", "--pidfile=/run/pid"),
            *("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"),
            *(f"--cgroup-parent=/{self._cgroup}", "--exec-opt=native.cgroupdriver=cgroupfs"),
            *flags,
        ]
        self._machine: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the engine, and the machine if it is off, and wait until it answers."""
        if self._machine is None:
            isolated = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
            with (self._disk / "log").open("ab") as log:
                self._machine = subprocess.Popen(
                    [*isolated, "sh", "-c", MACHINE, "machine", *self._command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
        assert self._machine.stdin is not None
        self._machine.stdin.write(b"\n")
        self._machine.stdin.flush()
        deadline = time.monotonic() + DEADLINE
        while not self._answers():
            assert self._machine.poll() is None, f"the machine is off: {self._log()}"
            assert time.monotonic() < deadline, f"the engine does not answer: {self._log()}"
            time.sleep(LOOK)

    def _answers(self) -> bool:
        # The client leaves a socket open when nobody listens.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self._disk / "socket"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 " in connection.recv(100)
            except OSError:
                return False

    def _log(self) -> str:
        return "\n".join((self._disk / "log").read_text().splitlines()[-20:])

    def kill(self, program: Literal["dockerd", "containerd"] = "dockerd") -> None:
        """Kill the engine, or what it lets look after containers, which it starts again; the first takes it along.

        Containers go on.
        """
        assert self._machine is not None
        (shell,) = _children(self._machine.pid)
        # What looks after one container becomes a child of the shell, too.
        parent, pid = shell, _named(shell, "dockerd")
        if program != "dockerd":
            parent, pid = pid, _named(pid, program)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE
        while pid in _children(parent):
            assert time.monotonic() < deadline, f"{program} does not end"
            time.sleep(LOOK)

    def cut_power(self) -> None:
        """End all that runs on the machine, containers included. What is on the disk stays."""
        machine, self._machine = self._machine, None
        if machine is not None:
            # The kernel ends the whole machine before its first process is gone.
            for pid in _children(machine.pid) or [machine.pid]:
                os.kill(pid, signal.SIGKILL)
            machine.communicate()

    def close(self) -> None:
        self.cut_power()
        self.client.close()
        for controller in Path("/sys/fs/cgroup").glob("*/"):
            _delete_cgroup(controller / self._cgroup)
        _delete_cgroup(Path("/sys/fs/cgroup") / self._cgroup)


def _named(parent: int, name: str) -> int:
    """Give the child of a process that runs a program."""
    deadline = time.monotonic() + DEADLINE
    while True:
        for pid in _children(parent):
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                # It has ended.
                continue
        assert time.monotonic() < deadline, f"{name} does not run"
        time.sleep(LOOK)


def _children(pid: int) -> list[int]:
    """Give the children of a process, whichever of its threads has started them."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(int(child) for child in file.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            # The thread has ended.
            continue
    return found


def _delete_cgroup(path: Path) -> None:
    for folder, _, _ in os.walk(path, topdown=False):
        Path(folder).rmdir()


@contextmanager
def own_engine(app: App, *flags: str) -> Iterator[OwnEngine]:
    """Give an engine that runs and has the image, or skip the test where there can be none."""
    missing = [program for program in ("dockerd", "unshare") if shutil.which(program) is None]
    if missing:
        service_missing(f"an engine of the test's own needs {' and '.join(missing)}")
    if os.geteuid() != 0:
        service_missing("an engine of the test's own needs root")
    # A socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir="/tmp"))
    engine = OwnEngine(folder, *flags)
    try:
        engine.start()
        engine.client.images.load(app.client.images.get(BUSYBOX).save(named=True))
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder)
