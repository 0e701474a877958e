"""A live pod, as code that looks into it is given it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from pydatatask_core.runs.site import Sighting

if TYPE_CHECKING:
    from .manager import PodManager

__all__ = ["Executed", "LivePod"]


@frozen
class Executed:
    """A program that has ended in a pod."""

    exit_status: int | None
    stdout: bytes
    stderr: bytes


@frozen
class LivePod:
    """A pod that runs."""

    manager: PodManager
    sighting: Sighting
    """What was seen of it last: task, job and attempt, node, image, start time."""

    @property
    def name(self) -> str:
        """The pod's name in its namespace."""
        return str(self.sighting.identity["name"])

    async def exec(self, argv: Sequence[str]) -> Executed:
        """Run a program in the pod's first container, to its end.

        :raises MissingJobError: if the pod has ended.
        :raises SiteUnavailableError: if the cluster does not answer.
        """
        written: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        async with await self.manager.exec(self.sighting.run, argv) as execution:
            async for stream, data in execution.output():
                written[stream].append(data)
            return Executed(execution.exit_status, b"".join(written["stdout"]), b"".join(written["stderr"]))
