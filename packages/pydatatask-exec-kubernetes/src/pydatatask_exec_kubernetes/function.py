"""Tasks that are Python functions, each call in a pod of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any, Self

from pydatatask_core.errors import ConfigurationError
from pydatatask_core.pipeline.quota import ResourceManager
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.runs.site import RunName
from pydatatask_core.task.function import InProcessSyncTask, TaskFunction, call
from pydatatask_core.task.patience import store
from pydatatask_core.task.policy import Seconds
from pydatatask_core.task.record import RunRecord
from pydatatask_core.task.run import Again, Dropped, Ended, Left
from pydatatask_core.task.template import Variables
from typing_extensions import Unpack, override

from .manager import PodManager
from .manifest import Manifest
from .task import KubeOptions, KubeTask

__all__ = ["KubeFunctionTask"]

ATTEMPT = "PYDATATASK_ATTEMPT"
"""The environment variable that tells a pod the number of its attempt."""


class KubeFunctionTask(KubeTask):
    """A function that is called in a pod, which runs the pipeline's script again: ``launch TASK JOB --sync --force``.

    The pod opens the pipeline's session for itself; so its image needs the script, what it imports, and a way to the
    stores. The template has, besides the variables of every template, ``argv0`` (the script's file name, without its
    folder) and ``args`` (a list)::

        command: {{ ["python3", "/app/" + argv0] | to_json }}
        args: {{ args | to_json }}

    The function's record is written by the pod to ``func_done``, with exception and traceback; the pod's by the
    controller to ``kube_done``. At least one of the two must be given. Without ``kube_done``, the pod's record goes to
    ``func_done`` where the function left none: its pod was killed, say.
    """

    def __init__(
        self,
        name: str,
        podman: Callable[[], PodManager],
        resources: ResourceManager | None,
        template: str | PathLike[str],
        logs: BlobRepository | None = None,
        kube_done: MetadataRepository | None = None,
        func_done: MetadataRepository | None = None,
        env: Mapping[str, Any] | None = None,
        func: TaskFunction | None = None,
        *,
        ready: Repository | None = None,
        window: Seconds = timedelta(minutes=1),  # it cannot be changed
        timeout: Seconds | None = None,
        patience: Seconds = timedelta(minutes=5),  # it cannot be changed
        **options: Unpack[KubeOptions],
    ) -> None:
        """:param kube_done: gets one record per pod that ended.
        :param func_done: gets one record per call of the function, written in the pod.
        :param func: the function, if the task is not used as a decorator.

        The other parameters are those of :class:`KubeTask`.
        """
        done = func_done if kube_done is None else kube_done
        if done is None:
            raise ConfigurationError(f"Task {name!r} has neither kube_done nor func_done, and would start for ever.")
        super().__init__(
            name, podman, resources, template, logs, done, window, timeout, env, ready, patience=patience, **options
        )
        self.kube_done = kube_done
        self.func_done = func_done
        if func_done is not None:
            self.link("func_done", func_done, is_status=True, required_for_output=True)
        self._function = InProcessSyncTask(name, None, func=func)
        # What is linked to the task is what the function is called with.
        self._function.links = self.links

    def __call__(self, func: TaskFunction) -> Self:
        """Take the function: the task is a decorator."""
        self._function(func)
        return self

    @property
    def func(self) -> TaskFunction | None:
        """The function."""
        return self._function.func

    @override
    def validate(self) -> None:
        super().validate()
        self._function.prepare()
        for link, repo in self._function.arguments.items():
            if isinstance(repo, InProcessMetadataRepository | InProcessBlobRepository):
                raise ConfigurationError(
                    f"Task {self.name!r}: link {link!r} is to a repository in memory, which is another one in the pod. "
                    f"Link a store that pods can reach."
                )

    @override
    def variables(self, job: str) -> Variables:
        async def args() -> list[str]:
            return ["launch", self.name, job, "--sync", "--force"]

        return {**super().variables(job), "argv0": Path(sys.argv[0]).name, "args": args}

    @override
    async def make(self, run: RunName) -> Manifest:
        manifest = await super().make(run)
        number = {"name": ATTEMPT, "value": str(run.attempt)}
        containers = [
            {**container, "env": [*(container.get("env") or ()), number]}
            for container in manifest["spec"]["containers"]
        ]
        return {**manifest, "spec": {**manifest["spec"], "containers": containers}}

    @override
    async def live_jobs(self) -> Collection[str]:
        # A pod has no business with other pods, and need not reach the cluster.
        return () if self.synchronous else await super().live_jobs()

    @override
    async def run(self, job: str) -> Ended | Again | Dropped | Left:
        return await self._call(job) if self.synchronous else await super().run(job)

    async def _call(self, job: str) -> Ended | Again:
        """Call the function here: this is the pod."""
        record = await call(self._function.invoke, job, None)
        record.attempt = int(os.environ.get(ATTEMPT, "1"))
        delay = None if record.cause is None else self.retries.delay_after(record.cause, record.attempt)
        if delay is not None:
            # The controller makes the next attempt; a record would say that there is none.
            return Again(record, delay)
        func_done = self.func_done
        if func_done is not None and self.metadata:
            data = record.data()
            await store(lambda: func_done.dump(job, data), f"{self.name} ended on {job}, which cannot be recorded")
        return Ended(record)

    @override
    async def publish(self, job: str, record: RunRecord) -> None:
        if self.kube_done is None and self.done is not None and await self.done.contains(job):
            # The function's own record, which says more.
            return
        await super().publish(job, record)
