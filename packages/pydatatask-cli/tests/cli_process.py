"""The real command, in a process of its own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from attrs import define, field, frozen

__all__ = ["DEADLINE", "Ended", "Place", "Running"]

TESTS = Path(__file__).parent
DEADLINE = 60.0
"""Seconds after which a test no longer believes that something will happen."""


@frozen
class Ended:
    """What came of a command."""

    code: int
    out: str
    err: str


@define
class Place:
    """A folder for pipelines on files, and the commands that are run there."""

    folder: Path
    running: list[Running] = field(factory=list, init=False)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands: nothing of ours but what they need."""
        kept = {
            name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "COVERAGE_RCFILE"}
        }
        return kept | {
            "HOME": str(self.folder / "home"),
            "PYTHONPATH": str(TESTS),
            "PIPELINE_FOLDER": str(self.folder),
            "TERM": "xterm-256color",
            "COLUMNS": "100",
        }

    def write(self, repository: str, job: str, data: bytes = b"text") -> None:
        """Put a file where a pipeline keeps a repository."""
        (self.folder / repository).mkdir(exist_ok=True)
        (self.folder / repository / job).write_bytes(data)

    def jobs(self, repository: str) -> list[str]:
        """List a repository behind the command's back."""
        folder = self.folder / repository
        return sorted(os.listdir(folder)) if folder.exists() else []

    def script(self, name: str, *args: str, stdin: bytes = b"", **env: str) -> Ended:
        """Run ``python NAME.py ARGS`` to its end, as a script that calls ``main``."""
        return self._run([sys.executable, str(TESTS / "pipelines" / f"{name}.py"), *args], stdin, env)

    def command(self, *args: str, stdin: bytes = b"", **env: str) -> Ended:
        """Run ``pydatatask ARGS`` to its end."""
        return self._run([*COMMAND, *args], stdin, env)

    def start(self, name: str, *args: str, **env: str) -> Running:
        """Start ``python NAME.py ARGS``."""
        argv = [sys.executable, str(TESTS / "pipelines" / f"{name}.py"), *args]
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.running.append(Running(process))
        return self.running[-1]

    def end_all(self) -> None:
        """End what a failed test left running."""
        for running in self.running:
            running.end()

    def _run(self, argv: list[str], stdin: bytes, env: dict[str, str]) -> Ended:
        done = subprocess.run(
            argv, cwd=self.folder, env=self.environment | env, input=stdin, capture_output=True, timeout=DEADLINE
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


COMMAND = [sys.executable, "-c", "from pydatatask_cli.app import entry; entry()"]


class Running:
    """A command that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.err = ""
        """What was read of standard error."""
        self._lines: queue.Queue[str | None] = queue.Queue()
        assert process.stdout is not None
        assert process.stderr is not None
        self._threads = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (process.stdout, process.stderr)
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the command said something, on standard output or standard error, so many times."""
        deadline = time.monotonic() + DEADLINE
        while self.err.count(text) < count:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"never said {text!r}: {self.err}") from None
            assert line is not None, f"ended without saying {text!r}: {self.err}"
            self.err += line

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        """Send the command, and nothing else of its session, a signal."""
        self.process.send_signal(number)

    def code(self, within: float = DEADLINE) -> int:
        """Wait for the end, and give the exit code."""
        code = self.process.wait(within)
        for thread in self._threads:
            thread.join(DEADLINE)
        while not self._lines.empty():
            self.err += self._lines.get() or ""
        return code

    def end(self) -> None:
        """Kill it, with its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for thread in self._threads:
            thread.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line.decode())
        self._lines.put(None) if stream is self.process.stderr else None
