"""One container of the local Docker engine, whose controller dies at the step that the environment names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiodocker
import pydatatask
from pydatatask_core import InProcessMetadataRepository, Pipeline, Resources, Retries, Session
from pydatatask_core.testing import run_to_step
from pydatatask_exec_docker import ContainerTask, DockerManager

SCRIPT = f"""\
[ {{{{ attempt }}}} -gt {os.environ["FAILS"]} ] || exit 3
echo all of it
"""

session = Session()


@session.resource
async def engine() -> AsyncIterator[DockerManager]:
    async with aiodocker.Docker() as docker:
        yield DockerManager(os.environ["TEST_APP"], docker, local_path=Path.cwd() / "base")


done = pydatatask.YamlMetadataFileRepository("done")
out = pydatatask.FileRepository("out")
task = ContainerTask(
    "task",
    engine,
    None,
    Resources(),
    os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox",
    SCRIPT,
    done=done,
    stdout=out,
    network="none",
    grace=1,
    retries=Retries(1, delay=0),
)
task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)

if __name__ == "__main__":
    asyncio.run(run_to_step(Pipeline([task], session), task, done, out))
