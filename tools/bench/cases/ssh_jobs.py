"""Scripts over SSH to this machine, against a loop that opens a channel for each of the same scripts."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator

import asyncssh
import pytest
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    ProcessTask,
    ResourceManager,
    Resources,
    Session,
)
from pydatatask_exec_ssh import SSHLinuxManager

from ..harness import Case, Figures, Lap, compare
from ..ssh import SSHServer, ssh_server

__all__ = ["CASE"]

JOBS = 200
AT_ONCE = 40
CHANNELS = 8


class Bench:
    """Both ways to run the scripts on one server."""

    def __init__(self, server: SSHServer) -> None:
        self.server = server
        self.seconds: list[float] = []

    async def ssh(self, lap: Lap) -> None:
        session = Session()

        @session.resource
        async def connection() -> AsyncIterator[asyncssh.SSHClientConnection]:
            async with asyncssh.connect(**self.server.options()) as live:
                yield live

        @session.resource
        async def machine() -> AsyncIterator[SSHLinuxManager]:
            yield SSHLinuxManager("bench", connection, channels=CHANNELS)

        outputs = InProcessBlobRepository()
        task = ProcessTask(
            "task",
            machine,
            ResourceManager(Resources.parse(AT_ONCE, 0)),
            Resources.parse(1, 0),
            InProcessMetadataRepository(),
            "echo {{ job }}\n",
            done=InProcessMetadataRepository(),
            stdout=outputs,
        )
        task.link("source", InProcessMetadataRepository({f"job{n:07}": {} for n in range(JOBS)}), is_input=True)
        pipeline = Pipeline([task], session)
        async with pipeline:
            began = time.monotonic()
            with lap.timed():
                controller = await pipeline.run()
            self.seconds.append(time.monotonic() - began)
        assert controller.progress()[0].succeeded == JOBS
        assert len(outputs.data) == JOBS

    async def bare(self, lap: Lap) -> None:
        room = asyncio.Semaphore(CHANNELS)

        async def spawn(connection: asyncssh.SSHClientConnection, job: str) -> None:
            async with room:
                done = await connection.run(f"sh -c 'echo {job}'")
                assert done.stdout == f"{job}\n"

        async with asyncssh.connect(**self.server.options()) as connection:
            with lap.timed():
                await asyncio.gather(*(spawn(connection, f"job{n:07}") for n in range(JOBS)))


async def measure() -> Figures:
    try:
        with ssh_server() as server:
            bench = Bench(server)
            figures = await compare(JOBS, bench.ssh, bench.bare)
            return {**figures, "per_second": round(JOBS / statistics.median(bench.seconds), 1)}
    except pytest.skip.Exception as error:
        sys.stderr.write(f"  not measured: {error}\n")
        return {"not_measured": str(error)}


CASE = Case("ssh-jobs", "40 per second, on the clock on the wall", measure)
