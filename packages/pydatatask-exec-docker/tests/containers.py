"""The back door: the containers of one app, by the docker library, which is no part of the product."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import docker  # type: ignore[import-untyped]  # it has no type information
from attrs import frozen
from docker.models.containers import Container  # type: ignore[import-untyped]  # nor has this
from pydatatask_core import Resource, Session
from pydatatask_core.testing.services import service_missing
from pydatatask_exec_docker import DockerManager

BUSYBOX = os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"
DEADLINE = 180.0
"""Seconds after which something that must happen is taken not to happen. Containers of a loaded machine take long."""
LABEL = "pydatatask.app"


@frozen
class App:
    name: str
    client: docker.DockerClient

    def all(self) -> list[Container]:
        wanted = {"label": f"{LABEL}={self.name}"}
        found: list[Container] = self.client.containers.list(all=True, filters=wanted, ignore_removed=True)
        return found

    def running(self) -> list[Container]:
        return [container for container in self.all() if container.status == "running"]

    async def until(self, found: Callable[[list[Container]], Any], what: str) -> Any:
        """Look until something is found among the containers, and give it."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not (value := found(await asyncio.to_thread(self.all))):
                    await asyncio.sleep(0.1)
                return value
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; there are {self.all()}") from None

    async def until_running(self) -> Container:
        """Wait until one container runs."""
        found: Container = (await self.until(lambda all_: [one for one in all_ if one.status == "running"], "a run"))[0]
        return found


@contextmanager
def fresh_app() -> Iterator[App]:
    client = docker.from_env(timeout=60)
    try:
        client.ping()
    except docker.errors.DockerException as error:
        service_missing(f"no Docker engine answers: {error}")
    app = App(f"test-{secrets.token_hex(4)}", client)
    try:
        yield app
    finally:
        for container in app.all():
            try:
                container.remove(force=True, v=True)
            except docker.errors.APIError:
                # It is gone, or about to go.
                continue
        client.close()


def engine_of(manager: DockerManager) -> tuple[Session, Resource[DockerManager]]:
    """Give a session with a manager in it."""
    session = Session()

    @session.resource
    async def engine() -> AsyncIterator[DockerManager]:
        yield manager

    return session, engine
