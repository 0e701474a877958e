"""A Docker engine as a place for runs."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Literal

import aiohttp
from aiodocker import Docker
from pydatatask_core.cancelling import to_the_end
from pydatatask_core.errors import ConfigurationError, ConflictError, MissingJobError, SiteUnavailableError
from pydatatask_core.job import is_valid_name
from pydatatask_core.runs.interactive import Execution, Interactive, TerminalSize
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.observation import observation_of
from pydatatask_core.runs.site import Cancellation, ExecutionSite, Gone, Phase, RunName, Sighting, Snapshot
from pydatatask_core.streams import BlobReader
from typing_extensions import override

from .accounts import Reader
from .archive import files_of, mark_of
from .engine import Engine, Event
from .execution import ContainerExecution
from .naming import LABELS, OWNER, is_staged, staging_name
from .outputs import Outputs
from .reading import FollowedFile
from .spec import FOLDER, FOLLOW, MARK, ContainerSpec
from .status import LOST, claimed, is_in_doubt, lost, names_of, of_event, run_of_event, run_of_listed

__all__ = ["DockerManager"]

_log = logging.getLogger("pydatatask.exec.docker")

LOOKS = 8
"""Containers that are looked at at a time."""
BEGINNING = 0.2
"""Seconds between two looks at a container whose output is waited for."""
ENDING = 30.0
"""Seconds within which an engine hears of a container's end, at most, after its output has ended."""


class DockerManager(ExecutionSite[ContainerSpec], Interactive):
    """Runs containers on a Docker engine.

    A container's name claims its run. Containers go on when the controller ends; the next one finds them by their
    labels. They are removed when their runs have been recorded.
    """

    def __init__(
        self,
        app: str,
        docker: Docker,
        *,
        auth: Mapping[str, Any] | None = None,
        is_here: bool | None = None,
        local_path: str | os.PathLike[str] = "/tmp/pydatatask-containers",  # noqa: S108  # 0700
    ) -> None:
        """:param app: part of the name of every container. Two pipelines that share it must not share task names.
        :param docker: the client, open. Closing it is up to who opened it.
        :param auth: what images are pulled with, as the client takes it: ``username`` and ``password``.
        :param is_here: whether paths of the engine's machine are paths of this process, so that files can be mounted.
            None takes an engine behind a local socket to be here.
        :param local_path: the folder that holds outputs which scripts write as files until they are published.
        :raises ConfigurationError: if the app's name is none.
        """
        if not is_valid_name(app):
            raise ConfigurationError(f"{app!r} is no valid app name. Use 1 to 63 letters, digits, '_' and '-'.")
        self.app = app
        self.engine = Engine(docker)
        self.is_here = type(docker.connector) is aiohttp.UnixConnector if is_here is None else is_here
        self.outputs = Outputs(local_path, app)
        self._auth = auth
        self._reader = Reader(self.engine, app)
        self._staging: set[str] = set()
        """The names of containers that are being made here."""
        self._left: set[str] = set()
        """The names of those that could be neither made nor removed, because the engine was out of reach."""

    @override
    def __repr__(self) -> str:
        return f"<DockerManager {self.app} on {self.host}>"

    @property
    @override
    def host(self) -> str:
        return platform.node() if self.is_here else self.engine.docker.docker_host

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Sighting | Gone | Snapshot]]:
        events, stack = await self.engine.events(LABELS.wanted(self.app))
        async with stack:
            for name in tuple(self._left):
                await self.engine.remove(name)
                self._left.discard(name)
            listed = await self.engine.list(LABELS.wanted(self.app))
            snapshot = Snapshot(await self._look_at(listed))
            yield self._seen(snapshot, events)

    async def _seen(
        self, snapshot: Snapshot, events: AsyncIterator[Event]
    ) -> AsyncIterator[Sighting | Gone | Snapshot]:
        yield snapshot
        async for event in events:
            run = run_of_event(event, self.app)
            if run is None:
                continue
            if event["Action"] == "destroy":
                yield Gone(run)
            elif event["Action"] != "die":
                yield of_event(event, run, self.host)
            elif (sighting := await self._look_into(event["Actor"]["ID"])) is not None:
                yield sighting

    @override
    async def sweep(self) -> None:
        """Remove what interrupted claims have left. Whoever is just making one fails as a whole, and tries again."""
        listed = await self.engine.list(LABELS.wanted(self.app))
        names = {name: found["Id"] for found in listed for name in names_of(found)}
        for name, container in names.items():
            if is_staged(name) and name not in self._staging:
                await self.engine.remove(container)
        if self.is_here:
            await self.outputs.sweep(names.keys())

    async def _look_at(self, listed: Iterable[Mapping[str, Any]]) -> list[Sighting]:
        room = asyncio.Semaphore(LOOKS)

        async def look(container: str) -> Sighting | None:
            async with room:
                return await self._look_into(container)

        mine = [found["Id"] for found in listed if run_of_listed(found, self.app) is not None]
        seen = await asyncio.gather(*(look(container) for container in mine))
        return sorted((one for one in seen if one is not None), key=lambda one: one.run)

    async def _look_into(self, container: str) -> Sighting | None:
        """See a container as it is now, by id or name; None if it is gone, or no claim of ours."""
        found = await self.engine.inspect(container)
        return None if found is None else await self._reader.read(found, self.host)

    @override
    async def claim(self, run: RunName, owner: str, spec: ContainerSpec) -> Sighting | None:
        name = dns_name(self.app, run)
        config = dict(spec.config)
        config["Labels"] = {**LABELS.of(self.app, run), OWNER: owner}
        mounts = [
            {"Type": "bind", "Source": m.source, "Target": m.target, "ReadOnly": not m.writable} for m in spec.mounts
        ]
        if spec.outputs is not None:
            source = await self.outputs.prepare(name, spec.outputs)
            mounts.append({"Type": "bind", "Source": source, "Target": self.outputs.INSIDE, "ReadOnly": False})
        config["HostConfig"] = {**config["HostConfig"], "Mounts": mounts}
        user = await self._user(spec)
        is_root = user.partition(":")[0] in {"", "0", "root"}
        async with AsyncExitStack() as stack:
            stdin = None if spec.stdin is None else await stack.enter_async_context(await spec.stdin())
            try:
                if is_root and spec.script is None and stdin is None:
                    container = await self.engine.create(config, name)
                else:
                    container = await self._stage(name, config, files_of(spec.script, stdin))
            except ConflictError:
                await self._check_taken(name, run)
                return None
            except MissingJobError as error:
                raise SiteUnavailableError(f"Container {name} or its image was taken away meanwhile.") from error
        return claimed(run, owner, container, spec.image, self.host)

    async def _stage(self, name: str, config: Mapping[str, Any], files: AsyncIterator[bytes]) -> str:
        """Make a container aside, put files into it, and give it its name: so it is never seen in part."""
        staged = staging_name()
        self._staging.add(staged)
        try:
            container = await to_the_end(self.engine.create(config, staged))
            await self.engine.write(container, files)
            await self.engine.rename(container, name)
            return container
        except BaseException:
            # If it has its name already, the claim stands, and is found.
            await to_the_end(self._discard(staged))
            raise
        finally:
            self._staging.discard(staged)

    async def _discard(self, staged: str) -> None:
        try:
            await self.engine.remove(staged)
        except SiteUnavailableError as error:
            self._left.add(staged)
            _log.warning("A container that was not made to the end is removed later: %s", error)

    async def _user(self, spec: ContainerSpec) -> str:
        """See that the engine has the image, and give who runs the script."""
        if spec.pull == "always":
            await self._pull(spec.image)
        image = await self.engine.image(spec.image)
        if image is None and spec.pull == "never":
            raise ConfigurationError(
                f"The engine on {self.host} has no image {spec.image}, and none is to be pulled. Pull it, or make the "
                f"task with pull='missing'."
            )
        if image is None:
            await self._pull(spec.image)
            image = await self.engine.image(spec.image) or {}
        return str(spec.user if spec.user is not None else (image.get("Config") or {}).get("User") or "")

    async def _pull(self, image: str) -> None:
        try:
            await self.engine.pull(image, self._auth)
        except MissingJobError as error:
            raise ConfigurationError(
                f"{error} Is the name right, and may this engine see it? A registry that wants credentials says the "
                f"same of an image that one may not see."
            ) from error

    async def _check_taken(self, name: str, run: RunName) -> None:
        """See that what stands where a container was to be made is a container of that run.

        :raises ConflictError: if it is something else.
        """
        found = await self.engine.inspect(name)
        if found is None:
            return
        told = found["Config"].get("Labels") or {}
        if LABELS.run(told, name, self.app) != run:
            raise ConflictError(
                f"Cannot make container {name} for task {run.task} on job {run.job}: the engine has a container of "
                f"that name that is not of app {self.app}, or not of that run. Remove it, or rename the app."
            )

    @override
    async def look(self, task: str, job: str) -> list[Sighting]:
        return await self._look_at(await self.engine.list(LABELS.wanted(self.app, task, job)))

    @override
    async def look_all(self, task: str) -> list[Sighting]:
        return await self._look_at(await self.engine.list(LABELS.wanted(self.app, task)))

    @override
    async def start(self, run: RunName) -> None:
        name = dns_name(self.app, run)
        try:
            # An engine starts again what has ended.
            if (found := await self._look_into(name)) is not None and found.phase is Phase.CLAIMED:
                return await self.engine.start(name)
        except SiteUnavailableError:
            if not await self._tell_of(name):
                raise
            return None
        except (ConfigurationError, ConflictError, MissingJobError) as error:
            # An engine tells nobody else that it could not start a container, which may be gone by now.
            _log.info("%s", error)
        await self._tell_of(name)
        return None

    async def _tell_of(self, container: str) -> bool:
        """Tell of a container that may have come further than was heard, and say whether it has."""
        found = await self.engine.inspect(container)
        if found is not None and is_in_doubt(found) and await self.engine.read(container, MARK) is None:
            # If it has not begun, it never does; and if it has, it can be started when it has ended, which tells how.
            await self.engine.write(container, mark_of(LOST))
        sighting = None if found is None else await self._reader.read(found, self.host)
        if sighting is None or sighting.phase is Phase.CLAIMED:
            return False
        observation_of(self).see(sighting)
        return True

    @override
    async def cancel(self, sighting: Sighting, how: Cancellation) -> None:
        container = sighting.claim
        try:
            # Whoever sees it end knows why; and if it begins only now, it ends at once.
            await self.engine.write(container, mark_of(how))
            if sighting.phase is Phase.CLAIMED:
                await self.start(sighting.run)
            await self.engine.signal(container, "SIGTERM")
            if sighting.phase is Phase.CLAIMED:
                await self.engine.wait(container, 60.0)
        except MissingJobError:
            return

    async def resume(self, sighting: Sighting) -> None:
        """Let a run go on if somebody has paused its container, so that it can end."""
        found = await self.engine.inspect(sighting.claim)
        if found is not None and found["State"].get("Paused"):
            _log.warning("Container %s is paused, and has to end: it goes on.", dns_name(self.app, sighting.run))
            await self.engine.unpause(sighting.claim)

    @override
    async def finish(self, sighting: Sighting) -> Sighting:
        return await self._look_into(sighting.claim) or lost(sighting)

    @override
    async def vanished(self, last: Sighting) -> Sighting:
        return await self._look_into(dns_name(self.app, last.run)) or lost(last)

    @override
    async def open_output(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int = 0) -> BlobReader:
        return await self.engine.open(dns_name(self.app, run), f"{FOLDER}/{stream}", offset)

    @override
    async def follow_output(self, run: RunName, stream: Literal["stdout", "stderr"]) -> BlobReader:
        name = dns_name(self.app, run)
        # There is nothing to follow in one that has not begun. Whoever reads need not be who watches.
        while (found := await self._look_into(name)) is not None:
            if found.phase is not Phase.CLAIMED:
                break
            await asyncio.sleep(BEGINNING)
        follow = ["/bin/sh", "-c", FOLLOW, "pydatatask", stream]
        rest = partial(self._open_rest, run, stream)
        try:
            async with self.engine.beside(name):
                made = await self.engine.execute(name, follow, interactive=False)
                return await FollowedFile.begin(made, rest, f"the {stream} of container {name}")
        except ConflictError:
            return await self._open_rest(run, stream, 0)

    async def _open_rest(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int) -> BlobReader:
        """Open what a run has written, from a byte on, since there is no program any more that follows it."""
        # There is nothing to wait for if it does not write that, or is gone.
        await (await self.open_output(run, stream)).close()
        try:
            await self.engine.wait(dns_name(self.app, run), ENDING)
        except SiteUnavailableError as error:
            raise SiteUnavailableError(
                f"Following the {stream} of {run} was interrupted while the run goes on. Follow it anew. {error}"
            ) from error
        return await self.open_output(run, stream, offset)

    @override
    async def exec(self, run: RunName, argv: Sequence[str], *, terminal: TerminalSize | None = None) -> Execution:
        name = dns_name(self.app, run)
        try:
            async with self.engine.beside(name):
                made = await self.engine.execute(name, argv, terminal=terminal is not None)
                return await ContainerExecution.begin(made, f"run {argv[0]} in container {name}", terminal)
        except ConflictError as error:
            raise MissingJobError(f"Cannot run a program beside {run}: container {name} does not run.") from error

    @override
    async def release(self, task: str, job: str) -> None:
        for listed in await self.engine.list(LABELS.wanted(self.app, task, job)):
            if (run := run_of_listed(listed, self.app)) is None:
                continue
            if self.is_here and listed["State"] in {"created", "exited", "dead"}:
                # First, since nobody would know of the folder without its container.
                await self.outputs.remove(dns_name(self.app, run))
            try:
                await self.engine.remove(listed["Id"])
            except ConflictError as error:
                raise SiteUnavailableError(f"{error} It is removed when it has ended.") from error
