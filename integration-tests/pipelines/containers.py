"""Scripts in containers of the local Docker engine, with input, output and a folder of results each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pydatatask
from pydatatask_core import STDOUT, Pipeline, Resources, Session
from pydatatask_exec_docker import ContainerTask, DockerManager
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository, YamlMetadataFileRepository

HERE = Path.cwd()
SCRIPT = """\
echo to stderr >&2
cat
i=0
while [ $i -lt 1500 ]; do
    echo "$JOB line $i of its output, which is long enough to be written in many pieces"
    i=$((i+1))
done
echo "$JOB" > {{ result }}/name
sleep {{ pause }}
"""

session = Session()


@session.resource
async def engine() -> AsyncIterator[DockerManager]:
    async with aiodocker.Docker() as docker:
        yield DockerManager(os.environ["TEST_APP"], docker, local_path=HERE / "base")


scripts = ContainerTask(
    "scripts",
    engine,
    None,
    Resources(),
    os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox",
    SCRIPT,
    environ={"JOB": "{{ job }}"},
    done=YamlMetadataFileRepository("done"),
    stdin=FileRepository("inputs"),
    stdout=FileRepository("outputs"),
    stderr=STDOUT,
    network="none",
    grace=1,
    max_concurrent=20,
)
scripts.link("pause", YamlMetadataFileRepository("pauses"), is_input=True)
scripts.link("result", DirectoryRepository("results"), is_output=True)

pipeline = Pipeline([scripts], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
