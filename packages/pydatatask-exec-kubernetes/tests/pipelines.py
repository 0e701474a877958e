"""Pipelines of pods: tasks are made, run to the end, and looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field
from namespaces import DEADLINE, manifest
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Resource,
    ResourceManager,
    Session,
)
from pydatatask_core.pipeline.controller import Controller
from pydatatask_exec_kubernetes import KubeTask, PodManager


@define
class Bench:
    """Tasks over one namespace, with their stores in memory, which outlive a controller here."""

    manager: PodManager
    session: Session = field(factory=Session)
    tasks: list[KubeTask] = field(factory=list)
    done: dict[str, dict[str, Any]] = field(factory=dict)
    """The records, by task and job."""
    logs: dict[str, dict[str, bytes]] = field(factory=dict)
    podman: Resource[PodManager] = field(init=False)

    def __attrs_post_init__(self) -> None:
        async def podman() -> AsyncIterator[PodManager]:
            yield self.manager

        self.podman = self.session.resource(podman)

    def task(
        self,
        name: str,
        template: str,
        jobs: Iterable[str] | Mapping[str, Any] = ("job",),
        quota: ResourceManager | None = None,
        kind: Callable[..., KubeTask] = KubeTask,
        **options: Any,
    ) -> KubeTask:
        """Make a task with its own stores; each job's value in ``inputs`` is what was given, or its name."""
        inputs = dict(jobs) if isinstance(jobs, Mapping) else {job: job for job in jobs}
        done = self.done.setdefault(name, {})
        logs = self.logs.setdefault(name, {})
        task = kind(
            name,
            self.podman,
            quota,
            template,
            InProcessBlobRepository(logs),
            InProcessMetadataRepository(done),
            **options,
        )
        task.link("inputs", InProcessMetadataRepository(inputs), is_input=True)
        self.tasks.append(task)
        return task

    def shell(self, name: str, command: str, more: str = "", **options: Any) -> KubeTask:
        """Make a task that runs a shell command."""
        return self.task(name, manifest(command, more=more), **options)

    async def run(self, timeout: float = DEADLINE) -> Controller:
        """Run until nothing is left to do."""
        async with Pipeline(self.tasks, self.session) as pipeline:
            return await pipeline.run(timeout=timeout)

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Controller]:
        """Have a controller run while the block does; it stops then, and leaves its pods."""
        async with Pipeline(self.tasks, self.session) as pipeline:
            controller = pipeline.make_controller(**options)
            run = asyncio.create_task(controller.run())
            try:
                yield controller
            finally:
                run.cancel()
                (failure,) = await asyncio.gather(run, return_exceptions=True)
                if isinstance(failure, Exception):
                    raise failure
