"""Tasks that are scripts in containers of a Docker engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import PurePath
from typing import Literal

from pydatatask_core.errors import ConfigurationError, MissingJobError
from pydatatask_core.pipeline.quota import ResourceManager, Resources
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, PathRepository, Repository
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.live import LiveRunRepository
from pydatatask_core.runs.site import RunName, Sighting
from pydatatask_core.streams import BlobReader, copy
from pydatatask_core.task.policy import Seconds, seconds
from pydatatask_core.task.process import STDOUT
from pydatatask_core.task.record import RunRecord
from pydatatask_core.task.run import PolicyOptions
from pydatatask_core.task.template import Template, Variables
from typing_extensions import Unpack, override

from .manager import DockerManager
from .naming import container_name
from .spec import FOLDER, INLINE, SCRIPT, ContainerSpec, Mount, Pull, configuration

__all__ = ["ContainerTask"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STREAMS = frozenset({"stdin", "stdout", "stderr"})


class ContainerTask(SiteTask[ContainerSpec]):
    """A script that runs once per job in a container of its own.

    The image needs ``/bin/sh``, ``sleep``, and ``cat`` where there is standard input. Its entry point is not used. A
    script runs in the image's working directory, as the image's user. What it leaves running ends with it.

    Containers go on when the controller ends, and keep to their timeout without it; the next controller finds them by
    their labels. Exit status 0 is success. When the last attempt has ended, outputs are stored, then the done record,
    and then its containers are removed.
    """

    def __init__(
        self,
        name: str,
        docker: Callable[[], DockerManager],
        resource_manager: ResourceManager | None,
        job_resources: Resources,
        image: str,
        template: str | PathLike[str],
        window: Seconds = timedelta(minutes=1),  # it cannot be changed
        environ: Mapping[str, str] | None = None,
        done: MetadataRepository | None = None,
        stdin: BlobRepository | None = None,
        stdout: BlobRepository | None = None,
        stderr: BlobRepository | object | None = None,
        ready: Repository | None = None,
        *,
        grace: Seconds = 10.0,
        pull: Pull = "missing",
        user: str | None = None,
        workdir: str | None = None,
        network: str | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        """:param docker: gives the engine while the session is open, as a session resource does.
        :param resource_manager: the quota that runs draw on, if they do.
        :param job_resources: what one run needs of the quota. Cpu and memory are also the limits of its container, if
            they are not 0; a script that takes more memory is killed, with the cause ``oom``.
        :param image: the image, rendered with Jinja2 as the script is.
        :param template: the script, rendered with Jinja2; or a file that holds it. See :class:`Template`. Without a
            first line that names an interpreter (``#!``) it is run by ``/bin/sh``.
        :param window: the time in which the quota counts launches.
        :param environ: environment variables, each rendered as the script is. The best way to give a script values.
        :param stdin: gives each job's standard input.
        :param stdout: gets each job's standard output.
        :param stderr: gets each job's standard error; or :data:`STDOUT`, to have it among the output.
        :param grace: the time that a script has between TERM and KILL, if it is to end.
        :param pull: whether the image is pulled ``always``, where it is ``missing``, or ``never``.
        :param user: who runs the script, as the engine takes it: ``name``, ``uid`` or ``uid:gid``.
        :param workdir: the working directory, which is made if it is not there.
        :param network: the engine's network that the container is in; ``none`` for none.
        :param options: see :class:`PolicyOptions`.
        :raises ConfigurationError: naming what is wrong.
        """
        super().__init__(
            name, done, ready, resource_manager=resource_manager, job_resources=job_resources, window=window, **options
        )
        self.docker = docker
        self.grace = seconds(grace) or 0.0
        self.pull: Pull = pull
        self.stdin = stdin
        self.stdout = stdout
        self.interleaved = stderr is STDOUT
        self.stderr = stderr if isinstance(stderr, BlobRepository) else None
        self.template = Template(template, f"The script of task {name!r}")
        self.image = Template(image, f"The image of task {name!r}")
        self.environ = {
            variable: Template(text, f"Environment variable {variable} of task {name!r}")
            for variable, text in (environ or {}).items()
        }
        self._settings = {"user": user, "workdir": workdir, "network": network}
        self._check(stderr)
        live = LiveRunRepository(self, frozenset({docker}))
        self.link("live", live, is_status=True, inhibits_start=True, inhibits_output=True)
        self._link_streams()

    def _check(self, stderr: object) -> None:
        if stderr is not None and self.stderr is None and not self.interleaved:
            raise ConfigurationError(f"Task {self.name!r}: stderr is {stderr!r}. Give a BlobRepository, or STDOUT.")
        if self.pull not in {"always", "missing", "never"}:
            raise ConfigurationError(f"Task {self.name!r}: pull is {self.pull!r}. Use 'always', 'missing' or 'never'.")
        for variable in self.environ:
            if not _VARIABLE.fullmatch(variable):
                raise ConfigurationError(f"Task {self.name!r}: {variable!r} is no name of an environment variable.")

    def _link_streams(self) -> None:
        if self.stdin is not None:
            self.link("stdin", self.stdin, is_input=True)
        if self.stdout is not None:
            self.link("stdout", self.stdout, is_output=True)
        if self.stderr is not None:
            self.link("stderr", self.stderr, is_output=True)

    @property
    @override
    def site(self) -> DockerManager:
        return self.docker()

    @property
    @override
    def resources(self) -> frozenset[object]:
        return super().resources | {self.docker}

    @override
    async def make(self, run: RunName) -> ContainerSpec:
        mounts = await self._mounts(run.job)
        variables = self._variables(run, mounts)
        text = await self.template.render(variables)
        image = (await self.image.render(variables)).strip()
        script = text.encode()
        is_file = text.startswith("#!") or "argv0" in self.template.names or len(script) > INLINE
        if is_file and not text.startswith("#!"):
            script = b"#!/bin/sh\n" + script
        config = configuration(
            image=image,
            command=[SCRIPT] if is_file else ["/bin/sh", "-c", text, SCRIPT],
            timeout=self.timeout,
            grace=self.grace,
            interleaved=self.interleaved,
            environ={name: await value.render(variables) for name, value in self.environ.items()},
            cpu=self.job_resources.cpu,
            mem=self.job_resources.mem,
            more=self._settings,
        )
        staged = self._staged()
        return ContainerSpec(
            image=image,
            pull=self.pull,
            config=config,
            script=script if is_file else None,
            stdin=None if self.stdin is None else partial(_opened, self.stdin, run.job),
            mounts=tuple(mounts.values()),
            user=self._settings["user"],
            outputs={name: repo.holds_folders for name, repo in staged.items()} if staged else None,
        )

    def _variables(self, run: RunName, mounts: Mapping[str, Mount]) -> Variables:
        asked = {name: partial(link.repo.info, run.job) for name, link in self.links.items()}
        mounted = {name: mount.target for name, mount in mounts.items()}
        staged = {name: f"{self.site.outputs.INSIDE}/{name}" for name in self._staged()}
        own = {"job": run.job, "task": self.name, "argv0": SCRIPT}
        return {"attempt": str(run.attempt), **asked, **mounted, **staged, **own}

    @property
    def _named(self) -> frozenset[str]:
        """What the templates name."""
        return frozenset().union(self.template.names, *(value.names for value in self.environ.values()))

    def _files(self, *, outputs: bool) -> dict[str, PathRepository]:
        """Give the links to files and folders of this machine that containers can see."""
        if not self.site.is_here:
            return {}
        return {
            name: link.repo
            for name, link in self.links.items()
            if isinstance(link.repo, PathRepository) and name not in _STREAMS and link.is_output is outputs
        }

    def _staged(self) -> Mapping[str, PathRepository]:
        """Give the outputs that the script writes to a private place, from which they are published after success."""
        return self._files(outputs=True)

    async def _mounts(self, job: str) -> dict[str, Mount]:
        """Give what the script reads as files, by the names of the links. Only what a template names is mounted."""
        mounts = {}
        for name, repo in self._files(outputs=False).items():
            # What stands behind a job of a metadata repository is its data, wherever they are.
            if name in self._named and not isinstance(repo, MetadataRepository):
                source = str(await repo.info(job))
                mounts[name] = Mount(source, f"{FOLDER}/in/{name}/{PurePath(source).name}")
        return mounts

    @override
    def stored_output(self, stream: Literal["stdout", "stderr"]) -> BlobRepository | None:
        return self.stdout if stream == "stdout" or self.interleaved else self.stderr

    @override
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        run = sighting.run
        if record.succeeded:
            container = container_name(self.site.app, run)
            for name, repo in self._staged().items():
                await repo.publish(run.job, self.site.outputs.path(container, name))
        if self.stdout is not None:
            await self._store(run, "stdout", self.stdout)
        if self.stderr is not None:
            await self._store(run, "stderr", self.stderr)

    async def _store(self, run: RunName, stream: Literal["stdout", "stderr"], repo: BlobRepository) -> None:
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(await self.site.open_output(run, stream))
            except MissingJobError:
                # The container is gone. An earlier controller may have stored it.
                if await repo.contains(run.job):
                    return
                source = None
            sink = await stack.enter_async_context(await repo.open(run.job, "wb"))
            if source is not None:
                await copy(source, sink)


async def _opened(repo: BlobRepository, job: str) -> BlobReader:
    return await repo.open(job, "rb")
