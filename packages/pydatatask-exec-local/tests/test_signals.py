"""Supervisors that are asked to end their job at unlucky moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydatatask_core import InProcessMetadataRepository, Pipeline, ProcessTask, Resources, Session
from pydatatask_core.runs.shell import SUPERVISE
from pydatatask_exec_local import LocalLinuxManager, supervisors

DEADLINE = 60.0
MOMENTS = ["read -r timeout", "job=$!", '[ -z "$stop" ] || end', 'wait "$job"']
"""Each is in the program once, at the beginning of a command."""


@pytest.mark.parametrize("signal", ["TERM", "ALRM"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_end_of_a_job_is_not_missed_whenever_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, signal: str
) -> None:
    assert SUPERVISE.count(moment) == 1
    asking = "put cancel cancelled" if signal == "TERM" else ":"
    asked = SUPERVISE.replace(moment, f"{asking}; kill -{signal} $$\n{moment}")
    monkeypatch.setattr(supervisors, "SUPERVISE", asked)
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done = InProcessMetadataRepository()
    task = ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), "sleep 1000", done=done)
    # A shell that has just been forked may miss its TERM; it gets KILL then.
    task.grace = 1.0
    task.link("go", InProcessMetadataRepository({"job": None}), is_input=True)
    async with asyncio.timeout(DEADLINE), Pipeline([task], session) as pipeline:
        await pipeline.run()
    assert done.data["job"]["result"] == {"TERM": "cancelled", "ALRM": "timeout"}[signal]
