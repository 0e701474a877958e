"""A pod per job, over files: it says that it began, takes as long as it is told, and says that it ended."""

import os
from collections.abc import AsyncIterator

import pydatatask

MANIFEST = """
kind: Pod
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: main
    image: {{ image }}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo begin {{ job }}; sleep {{ inputs.seconds }}; echo end {{ job }}"]
    resources: {requests: {cpu: {{ inputs.cpu | default("1m") }}, memory: 8Mi}}
"""

session = pydatatask.Session()


@session.resource
async def podman() -> AsyncIterator[pydatatask.PodManager]:
    async with pydatatask.PodManager("kill", os.environ["NAMESPACE"]) as manager:
        yield manager


task = pydatatask.KubeTask(
    "sleep",
    podman,
    None,
    MANIFEST,
    pydatatask.FileRepository("logs", ".txt"),
    pydatatask.YamlMetadataFileRepository("done"),
    env={"image": os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE", "busybox")},
)
task.link("inputs", pydatatask.YamlMetadataFileRepository("inputs"), is_input=True)

pipeline = pydatatask.Pipeline([task], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
