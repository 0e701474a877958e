"""One pod, looked at anew whenever what a server or a node answers about it leaves open how the pod stands."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import frozen
from pydatatask_core.errors import MissingJobError

from ._client import Cluster, Pod
from ._errors import Call

__all__ = ["OnePod", "has_begun", "has_ended", "id_of", "never_begins"]

LAG = 2.0
"""Seconds by which a server may know later than a node that a container has ended; more if the node is very slow."""


@frozen
class OnePod:
    """A pod, and no other one that gets its name later."""

    cluster: Cluster
    namespace: str
    name: str
    uid: str

    def reading(self, sub: str = "") -> Call:
        """What is asked of the cluster to read the pod, or something below it."""
        return Call("get", self.namespace, self.name, sub)

    async def look(self) -> Pod | None:
        """See it as it is now; None if it is gone.

        :raises SiteUnavailableError: if the cluster does not answer.
        """
        try:
            found: Pod = await self.cluster.call(self.reading())
        except MissingJobError:
            return None
        return found if found["metadata"]["uid"] == self.uid else None

    async def has_stopped(self, container: str) -> bool:
        """Tell whether a container is gone or has ended, also if it has only just done so."""
        latest = asyncio.get_running_loop().time() + LAG
        while True:
            pod = await self.look()
            if pod is None or _is_over(pod) or has_ended(pod, container):
                return True
            if asyncio.get_running_loop().time() >= latest:
                return False
            await asyncio.sleep(LAG / 4)


def has_begun(pod: Pod, container: str) -> bool:
    """Tell whether a container has begun, by what the node told last: so that it has a log."""
    state = _told(pod, container).get("state") or {}
    # One that could not be made is called terminated as well, and has no id then.
    return "running" in state or bool((state.get("terminated") or {}).get("containerID"))


def has_ended(pod: Pod, container: str) -> bool:
    """Tell whether a container has ended, by what the node told last. Of a pod that is over it may tell no more."""
    state = _told(pod, container).get("state") or {}
    return "terminated" in state or (_is_over(pod) and "running" not in state)


def never_begins(pod: Pod) -> bool:
    """Tell whether what has not begun in a pod will not do so any more."""
    return _is_over(pod) or pod["metadata"].get("deletionTimestamp") is not None


def id_of(pod: Pod, container: str) -> str:
    """Give the id that the node has for a container; nothing if it has none yet."""
    return str(_told(pod, container).get("containerID") or "")


def _is_over(pod: Pod) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def _told(pod: Pod, container: str) -> dict[str, Any]:
    status = pod.get("status", {})
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next((told for told in every if told["name"] == container), {})
