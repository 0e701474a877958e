"""A thin typed layer over the SDK: each verb with a time limit, few at once, and failures as ours.

The SDK reads logs as text and archives as a whole; both are streams of bytes here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
from aiodocker import Docker
from aiodocker.execs import Exec
from pydatatask_core.errors import ConflictError, MissingJobError, SiteUnavailableError

from ._errors import QUICK, asking, unreachable
from .reading import ArchivedFile

__all__ = ["Engine", "Event", "Inspected"]

Inspected = Mapping[str, Any]
"""A container as the engine tells it."""

Event = Mapping[str, Any]
"""Something that happened to a container, as the engine tells it."""

WORK = 180.0
"""Seconds that an answer may take that needs some: an engine may be busy with many containers."""
IN_FLIGHT = 8
"""Containers that are made or started at a time. Engines have been seen to stand still under hundreds."""
LEAVING = 4
"""Containers that are removed at a time."""
SILENCE = 30.0
"""Seconds without an event after which the engine is asked whether it is still there."""
TOLD = ("create", "rename", "start", "die", "destroy")

_ALIVE = {"running", "paused", "restarting"}
_LEAVING = {"removing", "dead", None}

STREAM = aiohttp.ClientTimeout(total=None, sock_connect=10.0)


class Engine:
    """A Docker engine."""

    def __init__(self, docker: Docker) -> None:
        self.docker = docker
        self._making = asyncio.Semaphore(IN_FLIGHT)
        self._removing = asyncio.Semaphore(LEAVING)
        self._pulling: dict[str, asyncio.Task[None]] = {}

    async def create(self, config: Mapping[str, Any], name: str) -> str:
        """Make a container and give its id. Fails as :func:`asking` says."""
        async with self._making, asking(f"create container {name} of image {config['Image']}", WORK):
            made = await self.docker.containers.create(dict(config), name=name)
            return made.id

    async def start(self, container: str) -> None:
        """Start a container, unless it runs. One that has ended is started again."""
        async with self._making, asking(f"start container {container}", WORK):
            await self.docker.containers.container(container).start()

    async def rename(self, container: str, name: str) -> None:
        """Give a container its name.

        :raises ConflictError: if the name is taken.
        """
        async with asking(f"name a container {name}", QUICK):
            await self.docker.containers.container(container).rename(name)

    async def signal(self, container: str, signal: str) -> None:
        """Signal the first process of a container. One that does not run is fine, and one that is gone."""
        try:
            async with asking(f"signal container {container}", QUICK):
                await self.docker.containers.container(container).kill(signal=signal)
        except (ConflictError, MissingJobError):
            return

    async def unpause(self, container: str) -> None:
        """Let a container go on that was paused. One that is not is fine, and one that is gone."""
        try:
            async with asking(f"unpause container {container}", QUICK):
                await self.docker.containers.container(container).unpause()
        except (ConflictError, MissingJobError):
            return
        except SiteUnavailableError:
            if await self._state(container) == "paused":
                raise

    async def wait(self, container: str, at_most: float) -> None:
        """Wait until a container does not run."""
        async with asking(f"wait for the end of container {container}", at_most):
            await self.docker.containers.container(container).wait()

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove a container and its anonymous volumes. One that is gone is fine.

        :raises ConflictError: if it runs.
        """
        try:
            async with self._removing, asking(f"remove container {container}", WORK):
                await self.docker.containers.container(container).delete(force=force, v=True)
        except MissingJobError:
            return
        except ConflictError as error:
            # Somebody else is about to remove it.
            if "in progress" not in str(error):
                raise

    async def inspect(self, container: str) -> Inspected | None:
        """Give what is known of a container, by id or name; None if it does not exist."""
        try:
            async with asking(f"look at container {container}", QUICK):
                return await self.docker.containers.container(container).show()
        except MissingJobError:
            return None

    async def _state(self, container: str) -> str | None:
        """Give the engine's word for the state of a container; None if it does not exist."""
        found = await self.inspect(container)
        return None if found is None else str(found["State"]["Status"])

    @asynccontextmanager
    async def _inside(self, doing: str, container: str, at_most: float | None) -> AsyncIterator[None]:
        """Do something with the files of a container.

        :raises MissingJobError: also if it is being removed: engines then answer as though they failed.
        """
        try:
            async with asking(doing, at_most):
                yield
        except SiteUnavailableError as error:
            if await self._state(container) in _LEAVING:
                raise MissingJobError(str(error)) from error
            raise

    async def list(self, labels: Sequence[str]) -> list[Mapping[str, Any]]:
        """Give a short account of all containers with some labels, in whatever state."""
        async with asking("list containers", WORK):
            found = await self.docker.containers.list(all=True, filters=json.dumps({"label": list(labels)}))
        return [container._container for container in found]

    async def write(self, container: str, archive: AsyncIterable[bytes]) -> None:
        """Unpack a tar archive at the root of a container, running or not.

        :raises MissingJobError: if there is no container.
        """
        async with self._inside(f"write into container {container}", container, None):
            found = self.docker.containers.container(container)
            await found.put_archive("/", archive)  # type: ignore[no-untyped-call]  # the SDK's

    async def open(self, container: str, path: str, offset: int = 0) -> ArchivedFile:
        """Open a file of a container, running or not, from a byte on.

        :raises MissingJobError: if there is none, or no container.
        """
        what = f"{path} of container {container}"
        # The SDK's own verb takes the whole archive into memory.
        query = self.docker._query(f"containers/{container}/archive", params={"path": path}, timeout=STREAM)
        stack = AsyncExitStack()
        try:
            async with self._inside(f"read {what}", container, None):
                async with asyncio.timeout(QUICK):
                    response = await stack.enter_async_context(query)
                stack.callback(response.close)
                file = ArchivedFile(response, stack, what)
                await file.begin(offset)
        except BaseException:
            await stack.aclose()
            raise
        return file

    async def read(self, container: str, path: str) -> bytes | None:
        """Give a small file of a container, running or not; None if there is none, or no container."""
        try:
            async with await self.open(container, path) as file:
                return await file.read()
        except MissingJobError:
            return None

    async def last_words(self, container: str) -> str:
        """Give the end of what a container wrote that is not its script's."""
        try:
            async with asking(f"read the log of container {container}", QUICK):
                lines = await self.docker.containers.container(container).log(stdout=True, stderr=True, tail=3)
        except MissingJobError:
            return ""
        return " ".join("".join(lines).split())

    async def execute(
        self, container: str, argv: Sequence[str], *, interactive: bool = True, terminal: bool = False
    ) -> Exec:
        """Prepare a program beside a running container's own.

        :raises ConflictError: if the container does not run.
        """
        async with asking(f"run a program in container {container}", QUICK):
            found = self.docker.containers.container(container)
            return await found.exec(list(argv), stdin=interactive, tty=terminal)

    @asynccontextmanager
    async def beside(self, container: str) -> AsyncIterator[None]:
        """Begin a program beside a running container's own.

        :raises ConflictError: if the container has ended. While one ends, engines also answer as though they failed.
        """
        try:
            yield
        except MissingJobError as error:
            raise ConflictError(str(error)) from error
        except SiteUnavailableError as error:
            if await self._state(container) not in _ALIVE:
                raise ConflictError(str(error)) from error
            raise

    async def image(self, name: str) -> Mapping[str, Any] | None:
        """Give what is known of an image, by name or id; None if the engine does not have it."""
        try:
            async with asking(f"look at image {name}", QUICK):
                return await self.docker.images.inspect(name)
        except MissingJobError:
            return None

    async def pull(self, image: str, auth: Mapping[str, Any] | None) -> None:
        """Pull an image. Those who want the same at the same time wait for one pull."""
        task = self._pulling.get(image)
        if task is None:
            task = self._pulling[image] = asyncio.ensure_future(self._pull(image, auth))
            task.add_done_callback(partial(self._pulled, image))
        # One who is cancelled leaves it to the others, and if there are none to the engine.
        await asyncio.shield(task)

    def _pulled(self, image: str, task: asyncio.Task[None]) -> None:
        del self._pulling[image]
        if not task.cancelled():
            # Looked at, so that asyncio does not report it as forgotten if all who waited have left.
            task.exception()

    async def _pull(self, image: str, auth: Mapping[str, Any] | None) -> None:
        async with asking(f"pull image {image}", None):
            await self.docker.images.pull(image, auth=None if auth is None else dict(auth))

    async def ping(self) -> None:
        """See that the engine answers."""
        async with asking("reach the engine", SILENCE):
            await self.docker.version()

    async def events(self, labels: Sequence[str]) -> tuple[AsyncIterator[Event], AsyncExitStack]:
        """Follow what happens to containers with some labels from now on, and give what ends that too.

        Iterating raises :class:`SiteUnavailableError` when the engine ends it, or does not answer any more.
        """
        filters = {"type": ["container"], "label": list(labels), "event": list(TOLD)}
        async with AsyncExitStack() as stack:
            async with asking("follow what happens on the engine", QUICK):
                params = {"filters": json.dumps(filters), "since": await self._just_now()}
                query = self.docker._query("events", params=params, timeout=STREAM)
                response = await stack.enter_async_context(query)
            stack.callback(response.close)
            told = self._told(response)
            stack.push_async_callback(told.aclose)
            return told, stack.pop_all()
        raise AssertionError("unreachable")  # the stack swallows nothing

    async def _just_now(self) -> str:
        """Give a moment before now, by the engine's clock: it answers before it has begun to follow."""
        info = await self.docker.system.info()
        return f"{datetime.fromisoformat(info['SystemTime']).timestamp():.6f}"

    async def _told(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Event, None]:
        doing = "follow what happens on the engine"
        rest = b""
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    chunk = await response.content.readany()
            except TimeoutError:
                await self.ping()
                continue
            except (aiohttp.ClientError, OSError) as error:
                raise unreachable(doing, error) from error
            if not chunk:
                raise unreachable(doing, ConnectionError("it ended the connection"))
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
