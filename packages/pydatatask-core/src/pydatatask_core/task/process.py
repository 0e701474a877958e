"""Tasks that are scripts on a POSIX host."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from os import PathLike
from typing import Any, Final, Literal

from typing_extensions import Unpack, override

from ..errors import ConfigurationError, MissingJobError
from ..pipeline.quota import ResourceManager, Resources
from ..repository.protocols import BlobRepository, MetadataRepository, PathRepository, Repository
from ..runs.host import HostFile, HostFiles, HostSite, ProcessManager, run_path
from ..runs.lifecycle import SiteTask
from ..runs.shell import BECOME, RUN
from ..runs.site import Phase, RunName, Sighting
from ..streams import copy
from .live import LiveRuns
from .policy import Seconds, seconds
from .record import RunRecord
from .restoring import restore
from .run import PolicyOptions
from .template import Template, Variables

__all__ = ["STDOUT", "ProcessTask"]


class _Interleave(Enum):
    STDOUT = "stdout"


STDOUT: Final = _Interleave.STDOUT
"""As ``stderr`` of a task: standard error goes where standard output goes, in the order in which it is written."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcessTask(SiteTask[HostFiles]):
    """A script that runs once per job on a POSIX host, here or over SSH.

    The script runs in a session and a process group of its own, in an empty working directory that is deleted after
    it. What it leaves running in its group is ended with it; what leaves the group (by ``setsid``) survives. It needs
    neither the controller nor a connection to go on: a controller that is started again finds it.

    Exit status 0 is success. Outputs are stored when the last attempt has ended, and before the done record.
    """

    def __init__(
        self,
        name: str,
        manager: Callable[[], ProcessManager],
        resource_manager: ResourceManager | None,
        job_resources: Resources,
        pids: MetadataRepository,
        template: str | PathLike[str],
        window: Seconds = timedelta(minutes=1),  # it cannot be changed
        environ: Mapping[str, str] | None = None,
        done: MetadataRepository | None = None,
        stdin: BlobRepository | None = None,
        stdout: BlobRepository | None = None,
        stderr: BlobRepository | Literal[_Interleave.STDOUT] | None = None,
        ready: Repository | None = None,
        *,
        grace: Seconds = 10.0,
        **options: Unpack[PolicyOptions],
    ) -> None:
        """:param manager: gives the host while the session is open, as a session resource does.
        :param resource_manager: the quota that runs draw on, if they do.
        :param job_resources: what one run needs of the quota.
        :param pids: gets a record per live run (pid, host, start time, attempt), for people to read.
        :param template: the script, rendered with Jinja2; or a file that holds it. See :class:`Template`.
        :param window: the time in which the quota counts launches.
        :param environ: environment variables, each rendered as the script is. The best way to give a script values.
        :param stdin: gives each job's standard input.
        :param stdout: gets each job's standard output.
        :param stderr: gets each job's standard error; or :data:`STDOUT`, to have it among the output.
        :param grace: the time that a script has between TERM and KILL, if it is to end.
        :param options: see :class:`PolicyOptions`.
        :raises ConfigurationError: naming what is wrong.
        """
        super().__init__(
            name, done, ready, resource_manager=resource_manager, job_resources=job_resources, window=window, **options
        )
        self.manager = manager
        self.pids = pids
        self.grace = seconds(grace) or 0.0
        self.stdout = stdout
        self.stderr = None if isinstance(stderr, _Interleave) else stderr
        self.interleaved = stderr is STDOUT
        self.stdin = stdin
        self.template = Template(template, f"The script of task {name!r}")
        self.environ = {
            variable: Template(text, f"Environment variable {variable} of task {name!r}")
            for variable, text in (environ or {}).items()
        }
        for variable in self.environ:
            if not _VARIABLE.fullmatch(variable):
                raise ConfigurationError(f"Task {name!r}: {variable!r} is no name of an environment variable.")
        self._restoring: asyncio.Task[None] | None = None
        live = LiveRuns(pids, partial(self.end, how="dropped"))
        self.link("live", live, is_status=True, inhibits_start=True, inhibits_output=True)
        self.link("pids", live, is_status=True)
        self._link_streams()

    def _link_streams(self) -> None:
        if self.stdin is not None:
            self.link("stdin", self.stdin, is_input=True)
        if self.stdout is not None:
            self.link("stdout", self.stdout, is_output=True)
        if self.stderr is not None:
            self.link("stderr", self.stderr, is_output=True)

    @property
    @override
    def site(self) -> HostSite:
        return self.manager().site

    @property
    @override
    def resources(self) -> frozenset[object]:
        return super().resources | {self.manager}

    @override
    async def make(self, run: RunName) -> HostFiles:
        folder = f"{self.manager().basedir}/{run_path(run)}"
        variables = self._variables(run, folder)
        script = await self.template.render(variables)
        if not script.startswith("#!"):
            script = f"#!/bin/sh\n{script}"
        exports = [f"export {name}={shlex.quote(await text.render(variables))}" for name, text in self.environ.items()]
        limits = (
            f"{'-' if self.timeout is None else f'{self.timeout:g}'} {self.grace:g} "
            f"{'/dev/null' if self.stdin is None else 'stdin'} {int(self.interleaved)}\n"
        )
        files: dict[str, HostFile | None] = {
            "limits": HostFile(limits.encode()),
            "run": HostFile("\n".join([RUN, *exports, BECOME]).encode()),
            "script": HostFile(script.encode(), executable=True),
            "cwd": None,
        }
        staged = self._staged()
        if staged:
            files["out"] = None
            files.update({f"out/{name}": None for name, repo in staged.items() if repo.holds_folders})
        if self.stdin is not None:
            files["stdin"] = HostFile(await self.stdin.open(run.job, "rb"))
        return files

    def _variables(self, run: RunName, folder: str) -> Variables:
        asked = {name: partial(link.repo.info, run.job) for name, link in self.links.items()}
        staged = {name: f"{folder}/out/{name}" for name in self._staged()}
        own = {"job": run.job, "task": self.name, "argv0": f"{folder}/script"}
        return {"attempt": str(run.attempt), **asked, **staged, **own}

    def _staged(self) -> Mapping[str, PathRepository]:
        """Give the outputs that the script writes to a private place, from which they are published after success."""
        if not self.manager().is_here:
            return {}
        streams = {"stdout", "stderr"}
        return {
            name: link.repo
            for name, link in self.links.items()
            if link.is_output and isinstance(link.repo, PathRepository) and name not in streams
        }

    @override
    def stored_output(self, stream: Literal["stdout", "stderr"]) -> BlobRepository | None:
        return self.stdout if stream == "stdout" or self.interleaved else self.stderr

    @override
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        if record.succeeded:
            for name, repo in self._staged().items():
                await repo.publish(sighting.run.job, f"{self.manager().basedir}/{run_path(sighting.run)}/out/{name}")
        if self.stdout is not None:
            await self._store(sighting.run, "stdout", self.stdout)
        if self.stderr is not None:
            await self._store(sighting.run, "stderr", self.stderr)

    async def _store(self, run: RunName, stream: Literal["stdout", "stderr"], repo: BlobRepository) -> None:
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(await self.site.open_output(run, stream))
            except MissingJobError:
                # The run ended before it began, or its folder is gone. An earlier controller may have stored it.
                if await repo.contains(run.job):
                    return
                source = None
            sink = await stack.enter_async_context(await repo.open(run.job, "wb"))
            if source is not None:
                await copy(source, sink)

    @override
    async def appeared(self, sighting: Sighting) -> None:
        if not await self.pids.contains(sighting.run.job):
            await self.pids.dump(sighting.run.job, live_record(sighting))

    @override
    async def disappeared(self, job: str) -> None:
        await self.pids.delete(job)

    @override
    async def live_jobs(self) -> Collection[str]:
        jobs = await super().live_jobs()
        if self._restoring is None:
            self._restoring = asyncio.ensure_future(restore(self.pids, self._running, self._appear_again))
        return jobs

    @override
    async def released(self) -> None:
        restoring, self._restoring = self._restoring, None
        if restoring is not None:
            restoring.cancel()
            await asyncio.gather(restoring, return_exceptions=True)
        await super().released()

    def _running(self) -> list[str]:
        return [seen.run.job for seen in self.latest() if seen.phase is Phase.RUNNING and seen.run.job in self.followed]

    async def _appear_again(self, job: str) -> None:
        seen = self.seen(job)
        if seen is not None and seen.phase is Phase.RUNNING and job in self.followed:
            await self.appeared(seen)

    @override
    async def remembered(self) -> Collection[Sighting]:
        records = await self.pids.info_all()
        return [run for job, record in records.items() if (run := self._from_record(job, record)) is not None]

    def _from_record(self, job: str, record: Any) -> Sighting | None:
        """Read what was told people of a live run; None if it was not told by us."""
        if not isinstance(record, Mapping) or not isinstance(record.get("identity"), Mapping):
            return None
        began = record.get("start_time")
        return Sighting(
            run=RunName(self.name, job, int(record.get("attempt", 1))),
            owner=self.owner,
            claim=str(record.get("claim", "")),
            phase=Phase.RUNNING,
            start_time=began if isinstance(began, datetime) else None,
            host=self.site.host,
            identity=dict(record["identity"]),
        )


def live_record(sighting: Sighting) -> dict[str, Any]:
    """Give what people are told of a live run."""
    return {
        "pid": sighting.identity.get("pid"),
        "host": sighting.host,
        "start_time": sighting.start_time,
        "attempt": sighting.run.attempt,
        "claim": sighting.claim,
        "identity": dict(sighting.identity),
    }
