"""Steps that narrate themselves: a heading, what is run, how long it took, and at the end one line for all."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Step", "StepFailedError", "perform", "run", "run_tests"]

ROOT = Path(__file__).resolve().parents[2]
"""The root of the workspace. The commands of a step run here unless told otherwise."""

NO_TESTS = 5
"""How pytest exits when it found nothing to run."""


class StepFailedError(Exception):
    """A step found a fault. Its output has told which; the message names the command or the file."""


@dataclass(frozen=True)
class Step:
    """One thing that is checked."""

    title: str
    action: Callable[[], None]


def run(*arguments: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> None:
    """Run a command with an empty standard input, its output shown as it comes; ``env`` adds to the environment.

    :raises StepFailedError: if it does not exit with 0.
    """
    status = _status(arguments, cwd, env or {})
    if status:
        raise StepFailedError(f"{Path(arguments[0]).name} exited with {status}")


def run_tests(
    python: Path,
    *arguments: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    may_be_empty: bool = False,
) -> None:
    """Run pytest under ``python``; ``may_be_empty`` accepts a run that found no tests.

    :raises StepFailedError: if a test failed, or none was found.
    """
    status = _status((python, "-m", "pytest", *arguments), cwd, env or {})
    if status and not (may_be_empty and status == NO_TESTS):
        raise StepFailedError("pytest found no tests" if status == NO_TESTS else f"pytest exited with {status}")


def perform(steps: Sequence[Step]) -> int:
    """Take the steps in order until one fails, and give the exit status."""
    began = time.monotonic()
    for number, step in enumerate(steps, 1):
        _say(f"\n== {number}/{len(steps)}  {step.title}")
        step_began = time.monotonic()
        try:
            step.action()
        except (StepFailedError, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            _say(
                f"\n{'INTERRUPTED' if interrupted else 'FAILED'} at step {number} of {len(steps)}, {step.title}: "
                f"{error if str(error) else 'stopped from outside'} (after {_duration(began)})"
            )
            return 130 if interrupted else 1
        _say(f"   {_duration(step_began)}")
    _say(f"\nAll {len(steps)} steps passed in {_duration(began)}.")
    return 0


def _status(arguments: Sequence[str | Path], cwd: Path, env: Mapping[str, str]) -> int:
    words = [str(argument) for argument in arguments]
    _say("$ " + shlex.join(os.path.relpath(word, ROOT) if word.startswith(f"{ROOT}/") else word for word in words))
    return subprocess.run(words, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, check=False).returncode


def _duration(began: float) -> str:
    seconds = time.monotonic() - began
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
