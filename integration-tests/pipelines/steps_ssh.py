"""One script on a host over SSH, whose controller dies at the step that the environment names."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import asyncssh
import pydatatask
from pydatatask_core import InProcessMetadataRepository, Pipeline, ProcessTask, Resources, Retries, Session
from pydatatask_core.testing import run_to_step

# Where the host is, and what lets us in.
SSH = json.loads(os.environ["TEST_SSH"])
SCRIPT = f"""\
echo begun >> {SSH["base"]}.begun
[ $(wc -l < {SSH["base"]}.begun) -gt {os.environ["FAILS"]} ] || exit 3
echo all of it
"""

session = Session()


@session.resource
async def ssh() -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(SSH["host"], SSH["port"], config=None, agent_path=None, **SSH["login"]) as connection:
        yield connection


@session.resource
async def machine() -> AsyncIterator[pydatatask.SSHLinuxManager]:
    yield pydatatask.SSHLinuxManager("steps", ssh, SSH["base"])


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
