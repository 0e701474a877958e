"""Supervisors that are asked to end their job at unlucky moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core import InProcessMetadataRepository, Pipeline, ProcessTask, Resources, Session
from pydatatask_core.runs.shell import SUPERVISE
from pydatatask_exec_local import LocalLinuxManager, supervisors

DEADLINE = 60.0
MOMENTS = ["read -r timeout", "job=$!", '[ -z "$stop" ] || end', 'wait "$job"\n    code']
"""Each is in the program once, at the beginning of a command."""


async def record_of(folder: Path, script: str, **options: Any) -> dict[str, Any]:
    """Run a script on one job, and give its record."""
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", folder / "base")

    done = InProcessMetadataRepository()
    task = ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), script, done=done, **options)
    task.link("go", InProcessMetadataRepository({"job": None}), is_input=True)
    async with asyncio.timeout(DEADLINE), Pipeline([task], session) as pipeline:
        await pipeline.run()
    record: dict[str, Any] = done.data["job"]
    return record


@pytest.mark.parametrize("signal", ["TERM", "ALRM"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_end_of_a_job_is_not_missed_whenever_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, signal: str
) -> None:
    assert SUPERVISE.count(moment) == 1
    asking = "put cancel cancelled" if signal == "TERM" else ":"
    asked = SUPERVISE.replace(moment, f"{asking}; kill -{signal} $$\n{moment}")
    monkeypatch.setattr(supervisors, "SUPERVISE", asked)
    # A shell that has just been forked may miss its TERM; it gets KILL then.
    record = await record_of(tmp_path, "sleep 1000", grace=1.0)
    assert record["result"] == {"TERM": "cancelled", "ALRM": "timeout"}[signal]


@pytest.mark.parametrize(("ending", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
async def test_the_status_of_a_job_that_ends_while_it_is_made_to_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, code: int
) -> None:
    # A command that is waited for lets the shell hear of the job's end, too.
    signalled = '    signal -TERM "-$job"\n'
    assert SUPERVISE.count(signalled) == 1
    monkeypatch.setattr(supervisors, "SUPERVISE", SUPERVISE.replace(signalled, f"{signalled}    sleep 0.5\n"))
    script = f"trap '{ending}' TERM\nwhile :; do sleep 0.05; done"
    record = await record_of(tmp_path, script, timeout=1.0)
    assert (record["result"], record["return_code"]) == ("timeout", code)
