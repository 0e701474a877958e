"""What an engine is asked for, beside what else happens to its containers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiodocker
import aiohttp
import docker  # type: ignore[import-untyped]  # it has no type information
import pytest
from containers import BUSYBOX, DEADLINE, App
from pydatatask_core.errors import MissingJobError
from pydatatask_exec_docker import DockerManager
from pydatatask_exec_docker.archive import mark_of
from pydatatask_exec_docker.engine import Engine
from pydatatask_exec_docker.spec import MARK

ROUNDS = 8
CONNECTIONS = 5
"""How many a client has at most; the one that the manager has, 100."""
BIG = 1 << 20
"""Bytes, more than waits between an engine and its client."""


async def created(manager: DockerManager, app: App, command: str = "sleep 60") -> str:
    """Make a container that the test's end removes."""
    labels = {"pydatatask.app": app.name}
    return await manager.engine.create(
        {"Image": BUSYBOX, "Cmd": ["sh", "-c", command], "Labels": labels}, f"{app.name}-c"
    )


async def read(engine: Engine, container: str) -> bool:
    return await engine.read(container, MARK) is not None


async def write(engine: Engine, container: str) -> bool:
    try:
        await engine.write(container, mark_of("cancelled"))
    except MissingJobError:
        return False
    return True


@pytest.mark.parametrize("use", [read, write])
async def test_files_of_a_container_that_is_removed_meanwhile_are_there_or_missing(
    app: App, manager: DockerManager, use: Callable[[Engine, str], Awaitable[bool]]
) -> None:
    async with asyncio.timeout(DEADLINE):
        for _ in range(ROUNDS):
            container = await created(manager, app)
            assert await write(manager.engine, container)
            removing = asyncio.ensure_future(manager.engine.remove(container))
            while await use(manager.engine, container):
                await asyncio.sleep(0)
            await removing


async def test_a_container_that_is_not_paused_can_be_let_go_on(app: App, manager: DockerManager) -> None:
    container = await created(manager, app)
    await manager.engine.unpause(container)
    await manager.engine.start(container)
    await manager.engine.unpause(container)
    await manager.engine.remove(container, force=True)
    await manager.engine.unpause(container)


async def test_a_file_that_is_closed_before_its_end_holds_no_connection(app: App, manager: DockerManager) -> None:
    container = await created(manager, app, f"head -c {BIG} /dev/zero >/big")
    await manager.engine.start(container)
    await manager.engine.wait(container, DEADLINE)
    kept = []
    path = docker.constants.DEFAULT_UNIX_SOCKET.removeprefix("http+unix://")
    async with (
        aiohttp.UnixConnector(path, limit=CONNECTIONS) as connector,
        aiodocker.Docker("unix://localhost", connector=connector) as client,
        asyncio.timeout(DEADLINE),
    ):
        engine = DockerManager(app.name, client).engine
        for _ in range(CONNECTIONS + 1):
            file = await engine.open(container, "/big")
            assert await file.read(1) == b"\0"
            await file.close()
            kept.append(file)
