"""A container that somebody has paused ends when it has to, on a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import InProcessMetadataRepository, Pipeline, Resources
from pydatatask_exec_docker import ContainerTask, DockerManager, task as task_module


async def kill(task: ContainerTask) -> None:
    assert await task.end("one", "cancelled")


async def drop(task: ContainerTask) -> None:
    await task.links["live"].repo.delete("one")


@asynccontextmanager
async def paused(app: App, manager: DockerManager, **options: Any) -> AsyncIterator[ContainerTask]:
    """Pause the container of a job, and wait for the end of the pipeline."""
    session, engine = engine_of(manager)
    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "sleep 300", done=done, grace=1.0, **options)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        running = asyncio.ensure_future(pipeline.run(launch_once=True, timeout=DEADLINE))
        container = await app.until_running()
        await asyncio.to_thread(container.pause)
        await app.until(lambda all_: all_[0].status == "paused", "a pause")
        yield task
        await running


@pytest.mark.parametrize(("end", "results"), [(kill, ["cancelled"]), (drop, [])], ids=["kill", "delete"])
async def test_a_paused_container_that_is_to_end_does(
    app: App, manager: DockerManager, end: Callable[[ContainerTask], Awaitable[None]], results: list[str]
) -> None:
    async with paused(app, manager) as task:
        await end(task)

    assert isinstance(task.done, InProcessMetadataRepository)
    assert [record["result"] for record in task.done.data.values()] == results
    assert app.all() == []


async def test_a_paused_container_keeps_to_its_timeout(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_module, "LATE", 1.0)
    # Time enough to be seen running, and to be paused.
    async with paused(app, manager, timeout=15.0) as task:
        pass
    assert caplog.text.count("is paused, and has to end") == 1

    assert isinstance(task.done, InProcessMetadataRepository)
    assert task.done.data["one"]["result"] == "timeout"
    assert app.all() == []


async def test_one_that_takes_its_time_to_end_is_left_to_itself(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(task_module, "LATE", 0.2)
    session, engine = engine_of(manager)
    done = InProcessMetadataRepository()
    script = "trap 'sleep 2; exit 0' TERM; sleep 300"
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, script, done=done, grace=20, timeout=1.0)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert done.data["one"]["result"] == "timeout"
    assert "is paused" not in caplog.text
