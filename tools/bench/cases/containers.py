"""Containers of ``/bin/true``, against an aiodocker loop that makes, starts, awaits and removes the same."""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiodocker
from pydatatask_core import InProcessMetadataRepository, Pipeline, Resources, Session
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_exec_docker import ContainerTask, DockerManager

from ..harness import Case, Figures

__all__ = ["CASE"]

CONTAINERS = 100
AT_ONCE = 8
REPEATS = 3
IMAGE = os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"


async def containers() -> float:
    """Run the containers as a task does, and give the seconds."""
    session = Session()

    @session.resource
    async def engine() -> AsyncIterator[DockerManager]:
        async with aiodocker.Docker() as docker:
            yield DockerManager(f"bench-{secrets.token_hex(4)}", docker)

    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), IMAGE, "exec /bin/true", done=done, max_concurrent=AT_ONCE)
    task.link("source", InProcessMetadataRepository({f"job{n:07}": {} for n in range(CONTAINERS)}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        began = time.monotonic()
        controller = await pipeline.run()
        seconds = time.monotonic() - began
    assert controller.progress()[0].succeeded == CONTAINERS
    return seconds


async def bare() -> float:
    """Run the containers by hand, and give the seconds."""
    room = asyncio.Semaphore(AT_ONCE)
    app = secrets.token_hex(4)

    async def one(docker: aiodocker.Docker, number: int) -> None:
        async with room:
            config: dict[str, Any] = {"Image": IMAGE, "Entrypoint": ["/bin/true"], "HostConfig": {"Init": True}}
            container = await docker.containers.create(config, name=f"bench-{app}-{number}")
            await container.start()
            assert (await container.wait())["StatusCode"] == 0
            await container.delete(v=True)

    async with aiodocker.Docker() as docker:
        began = time.monotonic()
        await asyncio.gather(*(one(docker, number) for number in range(CONTAINERS)))
        return time.monotonic() - began


async def measure() -> Figures:
    try:
        async with aiodocker.Docker() as docker:
            await DockerManager("bench", docker).engine.ping()
    except (AssertionError, SiteUnavailableError) as error:
        # The SDK asserts that there is an engine to ask.
        sys.stderr.write(f"  not measured: {error}\n")
        return {"not_measured": str(error)}
    times: dict[str, list[float]] = {"containers": [], "bare": []}
    for repeat in range(REPEATS):
        for name, run in (("containers", containers), ("bare", bare)):
            times[name].append(await run())
            sys.stderr.write(f"  {name} {repeat + 1}/{REPEATS}: {times[name][-1]:.1f} s\n")
    ours, by_hand = (statistics.median(found) for found in times.values())
    return {
        "amount": CONTAINERS,
        "per_second": round(CONTAINERS / ours, 2),
        "bare_per_second": round(CONTAINERS / by_hand, 2),
        "times_as_long": round(ours / by_hand, 3),
    }


CASE = Case("containers", "at most 1.3 times as long as by hand, on the clock on the wall", measure)
