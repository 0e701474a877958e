"""One pod, whose controller dies at the step that the environment names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pydatatask
from pydatatask_core import InProcessMetadataRepository, Pipeline, Retries, Session
from pydatatask_core.testing import run_to_step
from pydatatask_exec_kubernetes import KubeTask, PodManager

# Each attempt has a pod of its own name, which ends with its number.
MANIFEST = f"""
kind: Pod
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {{{{ image }}}}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '[ "${{HOSTNAME##*-}}" -gt {os.environ["FAILS"]} ] || exit 3; echo all of it']
"""

session = Session()


@session.resource
async def podman() -> AsyncIterator[PodManager]:
    async with PodManager(os.environ["TEST_APP"], os.environ["NAMESPACE"]) as manager:
        yield manager


done = pydatatask.YamlMetadataFileRepository("done")
out = pydatatask.FileRepository("out")
task = KubeTask(
    "task",
    podman,
    None,
    MANIFEST,
    out,
    done,
    env={"image": os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"},
    retries=Retries(1, delay=0),
)
task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)

if __name__ == "__main__":
    asyncio.run(run_to_step(Pipeline([task], session), task, done, out))
