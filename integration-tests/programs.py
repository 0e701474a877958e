"""Pipelines as programs: run to their end, or started, watched and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from attrs import frozen

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "packages" / "pydatatask" / "examples" / "book_summary"
QUICKSTART = EXAMPLE / "main.py"

DEADLINE = 180.0
"""Seconds after which something that must happen is taken not to happen: three of the longest polling intervals."""
LOOK = 0.01
"""Seconds between two looks at what another process does."""

T = TypeVar("T")


def pipeline_file(name: str) -> Path:
    """Give one of the pipelines beside the tests."""
    return HERE / "pipelines" / f"{name}.py"


@frozen
class Ended:
    """What became of a program."""

    code: int
    out: str
    err: str


def run(script: Path, *words: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None) -> Ended:
    """Run a pipeline's script with some words of the command line, in a folder, to its end."""
    return call(sys.executable, str(script), *words, cwd=cwd, env=env, text=text)


def call(*words: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None) -> Ended:
    """Run a program to its end; ``text`` is its standard input."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment(env),
        input=text or "",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert "Warning" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(
    script: Path, *words: str, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a pipeline's script, which is killed at the end unless it has ended."""
    with (cwd / "output.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), *words],
            cwd=cwd,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE)


def interrupt(process: subprocess.Popen[str]) -> int:
    """Press Ctrl-C, wait for the end, and give the exit code."""
    process.send_signal(signal.SIGINT)
    return process.wait(DEADLINE)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment that what this machine's user set up for AWS does not reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BUCKET_"))}
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        # To compile the SDK anew takes longer than all that most of these programs do.
        kept["PYTHONPYCACHEPREFIX"] = str(HERE.parent / ".pytest_cache" / "bytecode")
    return {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "no_proxy": "127.0.0.1",
        **(more or {}),
    }


def wait_until(found: Callable[[], T], what: str, while_running: subprocess.Popen[str] | None = None) -> T:
    """Look until something true is found, and give it. Fails after the deadline, or when the program has ended."""
    deadline = time.monotonic() + DEADLINE
    while not (value := found()):
        assert while_running is None or while_running.poll() is None, f"the program ended before: {what}"
        assert time.monotonic() < deadline, f"did not happen within {DEADLINE:.0f} s: {what}"
        time.sleep(LOOK)
    return value
