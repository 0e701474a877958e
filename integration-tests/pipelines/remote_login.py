"""A script on a host over SSH that may not let us in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pydatatask

SSH = json.loads(Path("ssh.json").read_text())

session = pydatatask.Session()


async def ssh() -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(SSH["host"], SSH["port"], config=None, agent_path=None, **SSH["login"])


@session.resource
async def machine() -> AsyncIterator[pydatatask.SSHLinuxManager]:
    yield pydatatask.SSHLinuxManager("login", ssh, SSH["base"])


greet = pydatatask.ProcessTask(
    "greet",
    machine,
    None,
    pydatatask.Resources(),
    pydatatask.YamlMetadataFileRepository("pids"),
    "echo hello",
    done=pydatatask.YamlMetadataFileRepository("done"),
    stdout=pydatatask.FileRepository("out"),
)
greet.link("inputs", pydatatask.FileRepository("inputs"), is_input=True)

pipeline = pydatatask.Pipeline([greet], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
