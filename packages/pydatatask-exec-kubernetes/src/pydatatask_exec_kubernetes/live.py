"""The live link of a task whose runs are pods: the pods themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydatatask_core.runs.live import LiveRunRepository

if TYPE_CHECKING:
    from .task import KubeTask

__all__ = ["LiveKubeRepository"]


class LiveKubeRepository(LiveRunRepository):
    """The jobs of a task that have a pod which has not ended. Deleting one deletes the pod, and no record is left.

    While the pipeline runs this costs the cluster nothing: the one watch of the app tells. Otherwise a listing is one
    request. ``info`` is a mapping with the pod's name and id, its node, image, attempt and start time, and what it
    waits for.
    """

    def __init__(self, task: KubeTask) -> None:
        """:param task: whose pods they are."""
        super().__init__(task, frozenset({task.podman}))
