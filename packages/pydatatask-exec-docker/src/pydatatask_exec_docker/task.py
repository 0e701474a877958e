"""Tasks that are scripts in containers of a Docker engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import PurePath

from pydatatask_core.clock import now
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.pipeline.quota import ResourceManager, Resources
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.runs.live import LiveRunRepository
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.streams import BlobReader
from pydatatask_core.task.policy import Seconds
from pydatatask_core.task.run import PolicyOptions
from pydatatask_core.task.script import Interleave, ScriptTask
from pydatatask_core.task.template import Template
from typing_extensions import Unpack, override

from .manager import DockerManager
from .spec import FOLDER, INLINE, SCRIPT, ContainerSpec, Mount, Pull, configuration

__all__ = ["ContainerTask"]

LATE = 5.0
"""Seconds after its timeout after which a container that has not ended may be paused."""
PULLS = frozenset({"always", "missing", "never"})


class ContainerTask(ScriptTask[ContainerSpec]):
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
        stderr: BlobRepository | Interleave | None = None,
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
            name,
            template,
            environ=environ,
            done=done,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            ready=ready,
            grace=grace,
            resource_manager=resource_manager,
            job_resources=job_resources,
            window=window,
            **options,
        )
        if pull not in PULLS:
            raise ConfigurationError(f"Task {name!r}: pull is {pull!r}. Use 'always', 'missing' or 'never'.")
        self.docker = docker
        self.pull: Pull = pull
        self.image = Template(image, f"The image of task {name!r}")
        self._settings = {"user": user, "workdir": workdir, "network": network}
        live = LiveRunRepository(self, frozenset({docker}))
        self.link("live", live, is_status=True, inhibits_start=True, inhibits_output=True)

    @property
    @override
    def site(self) -> DockerManager:
        return self.docker()

    @property
    @override
    def resources(self) -> frozenset[object]:
        return super().resources | {self.docker}

    @property
    @override
    def is_here(self) -> bool:
        return self.site.is_here

    @override
    def staged_name(self, run: RunName, link: str) -> str:
        return f"{self.site.outputs.INSIDE}/{link}"

    @override
    def staged_path(self, run: RunName, link: str) -> str:
        return self.site.outputs.path(dns_name(self.site.app, run), link)

    @override
    async def attend(self, sighting: Sighting) -> float | None:
        """A container keeps to its timeout by itself, unless somebody has paused it."""
        if sighting.phase is not Phase.RUNNING or self.timeout is None or sighting.start_time is None:
            return await super().attend(sighting)
        left = self.timeout + LATE - (now() - sighting.start_time).total_seconds()
        if left > 0:
            return left
        await self.persist("see that it goes on", sighting.run.job, partial(self.site.resume, sighting))
        return LATE

    @override
    async def make(self, run: RunName) -> ContainerSpec:
        mounts = await self._mounts(run.job)
        mounted = {name: mount.target for name, mount in mounts.items()}
        variables = self.variables(run, {**mounted, "argv0": SCRIPT})
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
            environ=await self.environment(variables),
            cpu=self.job_resources.cpu,
            mem=self.job_resources.mem,
            more=self._settings,
        )
        staged = self.files(outputs=True)
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

    @property
    def _named(self) -> frozenset[str]:
        """What the templates name."""
        return frozenset().union(self.template.names, *(value.names for value in self.environ.values()))

    async def _mounts(self, job: str) -> dict[str, Mount]:
        """Give what the script reads as files, by the names of the links. Only what a template names is mounted."""
        mounts = {}
        for name, repo in self.files(outputs=False).items():
            # What stands behind a job of a metadata repository is its data, wherever they are.
            if name in self._named and not isinstance(repo, MetadataRepository):
                source = str(await repo.info(job))
                mounts[name] = Mount(source, f"{FOLDER}/in/{name}/{PurePath(source).name}")
        return mounts


async def _opened(repo: BlobRepository, job: str) -> BlobReader:
    return await repo.open(job, "rb")
