"""Tasks that are pods."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, partial
from os import PathLike
from typing import Any, Literal, TypedDict

from pydatatask_core.clock import now
from pydatatask_core.pipeline.quota import ResourceManager, Resources
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.task.policy import Retries, Seconds, seconds
from pydatatask_core.task.record import RunRecord
from pydatatask_core.task.run import Again, Dropped, Ended, Left
from pydatatask_core.task.template import Template, Variables
from typing_extensions import Unpack, override

from .cost import requests_of_any_job
from .live import LiveKubeRepository
from .manager import PodManager
from .manifest import Manifest, read_manifest, requests_of
from .pod import LivePod
from .room import Line, NoRoomError
from .status import is_stuck

__all__ = ["KubeOptions", "KubeTask"]

_log = logging.getLogger("pydatatask.exec.kubernetes")

HOOK = 300.0
"""Seconds that :meth:`KubeTask.handle_timeout` may take. After them the cluster ends the pod, if nobody else does."""


class KubeOptions(TypedDict, total=False):
    """What may be said of the runs of tasks that are pods, besides their timeout."""

    disabled: bool
    """Start no jobs."""
    retries: int | Retries
    """How often a failed attempt is followed by another one, or a :class:`Retries`."""
    failure_ok: bool
    """Let tasks that this one is plugged into start even where it failed."""
    max_concurrent: int | None
    """The most jobs at a time."""
    priority: int | Callable[[str], int]
    """Jobs of a higher priority start first; a number for all jobs, or a function of the job."""


class KubeTask(SiteTask[Manifest]):
    """A pod that runs once per job in a namespace of a Kubernetes cluster.

    The pod needs no controller to go on: one that is started again finds it. Success is a pod whose containers all
    ended with status 0. When the last attempt has ended, its log is stored, then the done record, and then its pods
    are deleted. A pod that waits for room on a node, or for a quota of the namespace, waits; :meth:`waits_for` tells.
    """

    def __init__(
        self,
        name: str,
        podman: Callable[[], PodManager],
        resources: ResourceManager | None,
        template: str | PathLike[str],
        logs: BlobRepository | None,
        done: MetadataRepository | None,
        window: Seconds = timedelta(minutes=1),  # it cannot be changed
        timeout: Seconds | None = None,  # a name of earlier releases
        env: Mapping[str, Any] | None = None,
        ready: Repository | None = None,
        *,
        patience: Seconds = timedelta(minutes=5),  # it cannot be changed
        **options: Unpack[KubeOptions],
    ) -> None:
        """:param podman: gives the namespace while the session is open, as a session resource does.
        :param resources: the quota that pods draw on, by what their containers request.
        :param template: the pod's manifest in YAML, rendered with Jinja2; or a file that holds it. See
            :class:`Template`. Name, labels and ``restartPolicy: Never`` are ours.
        :param logs: gets each job's log, as far as its node still has it: nodes keep the last 10 MiB or so. That of
            several containers is one after another.
        :param window: the time in which the quota counts launches.
        :param timeout: the longest time that a pod may take from when its node took it, counted by the cluster, which
            ends it whether a controller is there or not. With an own :meth:`handle_timeout` it is counted here, from
            when the first container began.
        :param env: more variables for the template.
        :param patience: how long a container may fail to begin (its image cannot be pulled, its configuration is
            wrong) before the attempt has failed, with the cause ``unschedulable``.
        :param options: see :class:`KubeOptions`.
        :raises ConfigurationError: naming what is wrong.
        """
        super().__init__(name, done, ready, resource_manager=resources, window=window, timeout=timeout, **options)
        self.podman = podman
        self.template = Template(template, f"The manifest of task {name!r}")
        self.env = dict(env or {})
        self.logs = logs
        self.patience = seconds(patience) or 0.0
        self._stuck: dict[str, float] = {}
        """When a pod was first seen stuck, by its id and the loop's time."""
        self._over: set[str] = set()
        """The pods whose timeout was handled."""
        self._lines: dict[str, Line] = {}
        """Where jobs wait whose pods a quota of the namespace has no room for."""
        self.link("live", LiveKubeRepository(self), is_status=True, inhibits_start=True, inhibits_output=True)
        if logs is not None:
            self.link("logs", logs, is_status=True)

    @property
    @override
    def site(self) -> PodManager:
        return self.podman()

    @property
    @override
    def resources(self) -> frozenset[object]:
        return super().resources | {self.podman}

    async def handle_timeout(self, pod: LivePod) -> None:
        """Do something before a pod ends whose time is up: look into it by :meth:`LivePod.exec`, for example.

        For subclasses. A failure is logged, and the pod is ended all the same.
        """

    @override
    async def make(self, run: RunName) -> Manifest:
        manifest = await self._render(run.job)
        if self.timeout is None:
            return manifest
        allowed = self.timeout + (HOOK if self._has_hook else 0.0)
        spec = dict(manifest["spec"])
        spec["activeDeadlineSeconds"] = min(max(1, math.ceil(allowed)), spec.get("activeDeadlineSeconds", 2**31 - 1))
        return {**manifest, "spec": spec}

    async def _render(self, job: str) -> Manifest:
        text = await self.template.render(self.variables(job))
        what = f"{self.template.what} for job {job}"
        return read_manifest(text, what, counted=self.resource_manager is not None)

    def variables(self, job: str) -> Variables:
        """Give what the template may name."""
        asked = {name: partial(link.repo.info, job) for name, link in self.links.items()}
        given = {name: value if isinstance(value, str) else partial(_given, value) for name, value in self.env.items()}
        return {**asked, **given, "job": job, "task": self.name}

    @property
    def _has_hook(self) -> bool:
        return type(self).handle_timeout is not KubeTask.handle_timeout

    @override
    def cost(self, job: str) -> Resources | None:
        """Give what the job's pod requests: by the pod if it exists, else by the manifest if that is the same for all
        jobs.
        """
        last = None if self._observation is None else self._observation.latest(self.name, job)
        live = None if last is None else self.site.requests(last.run)
        return self._requests_of_any_job if live is None else live

    @cached_property
    def _requests_of_any_job(self) -> Resources | None:
        return requests_of_any_job(self.template, self.variables("job"), frozenset(self.env))

    @override
    async def ask_cost(self, job: str) -> Resources:
        return self.cost(job) or requests_of(await self._render(job))

    @override
    async def run(self, job: str) -> Ended | Again | Dropped | Left:
        try:
            while True:
                try:
                    return await super().run(job)
                except NoRoomError as error:
                    if self.leaving:
                        raise
                    line = self._lines[job] = error.line
                if not await line.turn((self.name, job)):
                    return Dropped()
        finally:
            self._step_out(job)

    def _step_out(self, job: str) -> None:
        line = self._lines.pop(job, None)
        if line is not None:
            line.step_out((self.name, job))

    @override
    def stop(self) -> None:
        super().stop()
        for job in list(self._lines):
            self._step_out(job)

    @override
    def waits_for(self, job: str) -> str | None:
        line = self._lines.get(job)
        return line.why if line is not None and (self.name, job) in line else super().waits_for(job)

    @override
    async def attend(self, sighting: Sighting) -> float | None:
        soonest = await super().attend(sighting)
        if sighting.phase is Phase.LEAVING:
            return soonest
        if sighting.identity.get("ending"):
            await self.site.go_on_ending(sighting)
            return soonest
        waits = [soonest, await self._end_if_stuck(sighting), await self._end_if_over(sighting)]
        return min((wait for wait in waits if wait is not None), default=None)

    async def _end_if_stuck(self, sighting: Sighting) -> float | None:
        """End a pod that does not begin; or give the seconds that are left for it."""
        if not is_stuck(sighting):
            self._stuck.pop(sighting.claim, None)
            return None
        time = asyncio.get_running_loop().time()
        left = self._stuck.setdefault(sighting.claim, time) + self.patience - time
        if left > 0:
            return left
        await self.site.end(sighting, "unschedulable", sighting.reason)
        return None

    async def _end_if_over(self, sighting: Sighting) -> float | None:
        """End a pod whose time is up, if that is counted here; or give the seconds that are left for it."""
        if self.timeout is None or not self._has_hook or sighting.start_time is None:
            return None
        left = self.timeout - (now() - sighting.start_time).total_seconds()
        if left > 0:
            return left
        if sighting.claim not in self._over:
            self._over.add(sighting.claim)
            await self._handle_timeout(sighting)
        await self.site.end(sighting, "timeout")
        return None

    async def _handle_timeout(self, sighting: Sighting) -> None:
        try:
            async with asyncio.timeout(HOOK):
                await self.handle_timeout(LivePod(self.site, sighting))
        except Exception:  # noqa: BLE001  # the hook is the user's, and must not keep the pod alive
            _log.exception("Task %s: handling the timeout of job %s failed", self.name, sighting.run.job)

    @override
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        self._stuck.pop(sighting.claim, None)
        self._over.discard(sighting.claim)
        if self.logs is not None:
            await self.store_output(sighting.run, "stdout", self.logs)

    @override
    def stored_output(self, stream: Literal["stdout", "stderr"]) -> BlobRepository | None:
        return self.logs if stream == "stdout" else None


async def _given(value: Any) -> Any:
    return value
