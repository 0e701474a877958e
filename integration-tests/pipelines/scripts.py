"""Fifty scripts on this machine, each of which appends a line to ``witness`` when it begins."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pydatatask
from pydatatask_core import STDOUT, Pipeline, ProcessTask, ResourceManager, Resources, Session
from pydatatask_exec_local import LocalLinuxManager
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository

HERE = Path.cwd()
SCRIPT = """\
#!/bin/sh
printf '%s\\n' {{ job }} >> {{ witness }}
echo to stderr >&2
cat
i=0
while [ $i -lt 1500 ]; do
    echo "$JOB line $i of its output, which is long enough to be written in many pieces"
    i=$((i+1))
done
echo "$JOB" > {{ result | shquote }}/name
sleep {{ pause }}
"""

session = Session()


@session.resource
async def machine() -> AsyncIterator[LocalLinuxManager]:
    yield LocalLinuxManager("kills", HERE / "base")


pauses = YamlMetadataFileRepository("pauses")

scripts = ProcessTask(
    "scripts",
    machine,
    ResourceManager(Resources.parse(8, "8Gi")),
    Resources.parse(1, "1Gi"),
    YamlMetadataFileRepository("pids"),
    SCRIPT.replace("{{ witness }}", str(HERE / "witness")),
    environ={"JOB": "{{ job }}"},
    done=YamlMetadataFileRepository("done"),
    stdin=FileRepository("inputs"),
    stdout=FileRepository("outputs"),
    stderr=STDOUT,
)
scripts.link("pause", pauses, is_input=True)
scripts.link("result", DirectoryRepository("results"), is_output=True)

pipeline = Pipeline([scripts], session)

if __name__ == "__main__":
    os.umask(0o022)
    pydatatask.main(pipeline)
