"""Pods of ``/bin/true``, against a loop over the Kubernetes client that creates them and watches until all have ended.

Needs KUBECONFIG. Seconds on the clock and not CPU time, because the cluster does the work; both in one process, on the
same cluster, each in a namespace of its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import yaml
from kubernetes_asyncio import client, config, watch
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, Pipeline, Session
from pydatatask_exec_kubernetes import KubeTask, PodManager

from ..harness import Case, Figures

__all__ = ["CASE"]

PODS = int(os.environ.get("PYDATATASK_BENCH_PODS", "200"))
IN_FLIGHT = 16

MANIFEST = f"""
apiVersion: v1
kind: Pod
metadata: {{}}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  containers:
  - name: main
    image: {os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE", "busybox")}
    command: [/bin/true]
    resources: {{requests: {{cpu: 1m, memory: 1Mi}}}}
"""


def jobs() -> Iterator[str]:
    return (f"job-{number:04}" for number in range(PODS))


@asynccontextmanager
async def namespace(api: Any) -> AsyncIterator[str]:
    name = f"pydatatask-bench-{secrets.token_hex(4)}"
    await api.create_namespace({"metadata": {"name": name}})
    try:
        yield name
    finally:
        await api.delete_collection_namespaced_pod(name, grace_period_seconds=0)
        await api.delete_namespace(name)


async def ours(api: Any) -> tuple[float, dict[str, int]]:
    async with namespace(api) as name, PodManager("bench", name) as manager:
        session = Session()

        @session.resource
        async def podman() -> AsyncIterator[PodManager]:
            yield manager

        done: dict[str, Any] = {}
        task = KubeTask("true", podman, None, MANIFEST, InProcessBlobRepository(), InProcessMetadataRepository(done))
        task.link("source", InProcessMetadataRepository(dict.fromkeys(jobs(), 1)), is_input=True)
        async with Pipeline([task], session) as pipeline:
            began = time.monotonic()
            await pipeline.run()
            took = time.monotonic() - began
        assert [record["result"] for record in done.values()] == ["success"] * PODS
        return took, dict(manager.cluster.requests)


async def bare(api: Any) -> float:
    async with namespace(api) as name:
        room = asyncio.Semaphore(IN_FLIGHT)

        async def create(job: str) -> None:
            pod = yaml.safe_load(MANIFEST)
            pod["metadata"]["name"] = job
            async with room:
                await api.create_namespaced_pod(name, pod)

        began = time.monotonic()
        left = set(jobs())
        creating = asyncio.gather(*(create(job) for job in jobs()))
        async with watch.Watch() as events:
            async for event in events.stream(api.list_namespaced_pod, name):
                if event["object"].status.phase == "Succeeded":
                    left.discard(event["object"].metadata.name)
                if not left:
                    break
        await creating
        return time.monotonic() - began


async def measure() -> Figures:
    await config.load_kube_config(config_file=os.environ["KUBECONFIG"])
    async with client.ApiClient() as connection:
        api = client.CoreV1Api(connection)
        # What the first pods find cold is neither's fault.
        by_hand = [await bare(api)]
        took, requests = await ours(api)
        by_hand.append(await bare(api))
    once = sum(count for what, count in requests.items() if what not in {"list pods", "watch pods"})
    fair = sum(by_hand) / 2
    return {
        "pods": PODS,
        "seconds": round(took, 1),
        "seconds_by_hand": round(fair, 1),
        "times_as_long": round(took / fair, 2),
        "requests_per_pod": round(once / PODS, 2),
        "lists": requests.get("list pods", 0),
        "watches": requests.get("watch pods", 0),
    }


CASE = Case("pods", "at most 1.3 times as long as by hand, and 4 requests per pod besides one watch", measure)
