"""The back door: a namespace of its own on a real cluster, by kubectl, which is no part of the product."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen
from k3s import Cluster

BUSYBOX = os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"
DEADLINE = 180.0
"""Seconds after which something that must happen is taken not to happen. Pods of a loaded machine take long, and a node
may take more than a minute to give up a pod whose containers have ended."""
PASSING = (
    "timed out",
    "i/o timeout",
    "TLS handshake timeout",
    "connection refused",
    "connection reset",
    "etcdserver",
    "ServiceUnavailable",
    "currently unable to handle the request",
)
"""What a server that has too much to do answers, or one that is not there for a moment."""


@frozen
class Namespace:
    name: str
    cluster: Cluster

    async def kubectl(self, *words: str, document: Mapping[str, Any] | None = None) -> str:
        """Run kubectl, and give what it prints. What only looks is repeated while the server cannot answer it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                code, out, err = await self._kubectl(words, document)
                if not code:
                    return out
                assert words[0] == "get", f"kubectl {' '.join(words)}: {err}"
                assert any(passing in err for passing in PASSING), f"kubectl {' '.join(words)}: {err}"
                await asyncio.sleep(1)

    async def _kubectl(self, words: Sequence[str], document: Mapping[str, Any] | None) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            *self.cluster.kubectl,
            "-n",
            self.name,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(None if document is None else json.dumps(document).encode())
        return process.returncode, out.decode(), err.decode()

    async def apply(self, document: Mapping[str, Any]) -> None:
        await self.kubectl("apply", "-f", "-", document=document)

    async def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self.kubectl("get", "pods", "-o", "json"))["items"]
        return found

    async def until(self, found: Callable[[list[dict[str, Any]]], Any], what: str) -> Any:
        """Look until something is found among the pods, and give it."""
        async with asyncio.timeout(DEADLINE):
            while not (value := found(await self.pods())):
                await asyncio.sleep(0.2)
            return value


@asynccontextmanager
async def fresh_namespace(cluster: Cluster) -> AsyncIterator[Namespace]:
    namespace = Namespace(f"pydatatask-test-{secrets.token_hex(4)}", cluster)
    await namespace.kubectl("create", "namespace", namespace.name)
    try:
        # Until it is there the cluster takes no pods.
        async with asyncio.timeout(DEADLINE):
            while not await namespace.kubectl("get", "serviceaccounts", "-o", "name"):
                await asyncio.sleep(0.1)
        yield namespace
    finally:
        await namespace.kubectl("delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
        await namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")


def manifest(command: str, *, image: str = BUSYBOX, more: str = "") -> str:
    """Give the manifest of a pod that runs a shell command. ``more`` is indented as fields of spec are."""
    return f"""
kind: Pod
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: main
    image: {image}
    imagePullPolicy: IfNotPresent
    command: ["sh", "-c", {json.dumps(command)}]
    resources:
      requests: {{cpu: 1m, memory: 8Mi}}
{more}"""
