"""One script on this machine, whose controller dies at the step that the environment names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pydatatask
from pydatatask_core import InProcessMetadataRepository, Pipeline, ProcessTask, Resources, Retries, Session
from pydatatask_core.testing import run_to_step

HERE = Path.cwd()
SCRIPT = f"""\
echo begun >> {HERE}/begun
[ $(wc -l < {HERE}/begun) -gt {os.environ["FAILS"]} ] || exit 3
echo all of it
"""

session = Session()


@session.resource
async def machine() -> AsyncIterator[pydatatask.LocalLinuxManager]:
    yield pydatatask.LocalLinuxManager("steps", HERE / "base")


done = pydatatask.YamlMetadataFileRepository("done")
pids = pydatatask.YamlMetadataFileRepository("pids")
out = pydatatask.FileRepository("out")
task = ProcessTask(
    "task",
    machine,
    None,
    Resources(),
    pids,
    SCRIPT,
    done=done,
    stdout=out,
    retries=Retries(1, delay=0),
)
task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)

if __name__ == "__main__":
    asyncio.run(run_to_step(Pipeline([task], session), task, done, pids, out))
