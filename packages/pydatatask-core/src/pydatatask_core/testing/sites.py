"""The conformance suite of execution sites: controllers die at every step of the life of a run.

A backend writes a program that makes a pipeline of one task over files in the current folder, and runs it with
:func:`run_to_step`::

    done, out = YamlMetadataFileRepository("done"), FileRepository("out")
    task = ProcessTask(..., done=done, stdout=out, retries=Retries(1, delay=0))
    asyncio.run(run_to_step(pipeline, task, done, out))

The task has one job, ``job``. Its script prints :data:`OUTPUT`. If the environment variable ``FAILS`` is 1, its first
attempt fails.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from ..repository.yaml import YAML
from .steps import FATAL_STEP

__all__ = ["OUTPUT", "ExecutionSiteTests"]

OUTPUT = "all of it\n"
FEWEST = 12
"""Steps that the life of a run has at least: fewer would mean that they are not counted."""
LONGEST = 120.0
"""Seconds that a controller may take."""
LATEST = 60.0
"""Seconds that a site may take to tell of what began."""


class ExecutionSiteTests(ABC):
    """A run survives the death of its controller, before and after each step."""

    stride: ClassVar[int] = 1
    """A controller dies at every step that is a multiple of it. One that is odd finds steps before and after."""

    @abstractmethod
    def program(self) -> Path:
        """Give the program that runs the pipeline, as this module's description says."""

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Give what the program needs in its environment."""
        return {}

    @abstractmethod
    def begun(self, folder: Path) -> Sequence[str]:
        """Give one item for each time the script of the pipeline in a folder was started."""

    @abstractmethod
    def left_over(self, folder: Path) -> Sequence[str]:
        """Give what is left at the site of the pipeline in a folder."""

    # What fails once goes through all the steps of what succeeds.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "failures", [pytest.param(0, marks=pytest.mark.campaign, id="succeeds"), pytest.param(1, id="fails-once")]
    )
    def test_killed_at_every_step_and_started_again_each_attempt_runs_once(self, tmp_path: Path, failures: int) -> None:
        step = self.stride
        while self._dies_at(tmp_path / str(step), step, failures):
            code, said = self._run(tmp_path / str(step), 0, failures)
            assert code == 0, f"after step {step}: {said}"
            self._audit(tmp_path / str(step), f"step {step}", failures)
            step += self.stride
        self._audit(tmp_path / str(step), "no step", failures)
        assert step > FEWEST

    def _dies_at(self, folder: Path, step: int, failures: int) -> bool:
        folder.mkdir()
        code, said = self._run(folder, step, failures)
        assert code in {0, -signal.SIGKILL}, f"at step {step}: {said}"
        return code != 0

    def _run(self, folder: Path, step: int, failures: int) -> tuple[int, str]:
        environment = {**os.environ, **self.environment(folder), FATAL_STEP: str(step), "FAILS": str(failures)}
        done = subprocess.run(
            [sys.executable, str(self.program())],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return done.returncode, done.stderr

    def _audit(self, folder: Path, where: str, failures: int) -> None:
        record = YAML.decode((folder / "done" / "job.yaml").read_bytes())
        assert record["result"] == "success", f"{where}: {record}"
        assert record["attempt"] == failures + 1, f"{where}: {record}"
        assert len(record.get("attempts", ())) == failures, f"{where}: {record}"
        # A site may tell later of what began.
        deadline = time.monotonic() + LATEST
        while len(begun := self.begun(folder)) <= failures and time.monotonic() < deadline:
            time.sleep(0.2)
        assert len(begun) == failures + 1, f"{where}: {begun}"
        assert (folder / "out" / "job").read_text() == OUTPUT, where
        assert list(self.left_over(folder)) == [], where
