"""Scripts on a host over SSH, each of which appends a line to ``witness`` there when it begins."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pydatatask
from pydatatask_core import STDOUT, Pipeline, ProcessTask, ResourceManager, Resources, Session
from pydatatask_exec_ssh import SSHLinuxManager
from pydatatask_repos_filesystem import FileRepository, YamlMetadataFileRepository

# Where the host is, and what lets us in.
SSH = json.loads(Path("ssh.json").read_text())
SCRIPT = """\
#!/bin/sh
printf '%s\\n' {{ job }} >> WITNESS
echo to stderr >&2
cat
i=0
while [ $i -lt 1500 ]; do
    echo "$JOB line $i of its output, which is long enough to be written in many pieces"
    i=$((i + 1))
done
sleep {{ pause }}
"""

session = Session()


@session.resource
async def ssh() -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(SSH["host"], SSH["port"], config=None, agent_path=None, **SSH["login"]) as connection:
        yield connection


@session.resource
async def machine() -> AsyncIterator[SSHLinuxManager]:
    yield SSHLinuxManager("kills", ssh, SSH["base"])


scripts = ProcessTask(
    "scripts",
    machine,
    ResourceManager(Resources.parse(8, "8Gi")),
    Resources.parse(1, "1Gi"),
    YamlMetadataFileRepository("pids"),
    SCRIPT.replace("WITNESS", SSH["witness"]),
    environ={"JOB": "{{ job }}"},
    done=YamlMetadataFileRepository("done"),
    stdin=FileRepository("inputs"),
    stdout=FileRepository("outputs"),
    stderr=STDOUT,
)
scripts.link("pause", YamlMetadataFileRepository("pauses"), is_input=True)

pipeline = Pipeline([scripts], session)

if __name__ == "__main__":
    os.umask(0o022)
    pydatatask.main(pipeline)
