"""Tasks that are scripts on a POSIX host."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from typing import Any

from typing_extensions import Unpack, override

from ..pipeline.quota import ResourceManager, Resources
from ..repository.protocols import BlobRepository, MetadataRepository, Repository
from ..runs.host import HostFile, HostFiles, HostSite, ProcessManager, run_path
from ..runs.shell import BECOME, RUN
from ..runs.site import Phase, RunName, Sighting
from .live import LiveRuns
from .policy import Seconds, spelled
from .restoring import restore
from .run import PolicyOptions
from .script import Interleave, ScriptTask

__all__ = ["ProcessTask"]


class ProcessTask(ScriptTask[HostFiles]):
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
        stderr: BlobRepository | Interleave | None = None,
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
        self.manager = manager
        self.pids = pids
        self._restoring: asyncio.Task[None] | None = None
        live = LiveRuns(pids, partial(self.end, how="dropped"))
        self.link("live", live, is_status=True, inhibits_start=True, inhibits_output=True)
        self.link("pids", live, is_status=True)

    @property
    @override
    def site(self) -> HostSite:
        return self.manager().site

    @property
    @override
    def resources(self) -> frozenset[object]:
        return super().resources | {self.manager}

    @property
    @override
    def is_here(self) -> bool:
        return self.manager().is_here

    def _folder(self, run: RunName) -> str:
        return f"{self.manager().basedir}/{run_path(run)}"

    @override
    def staged_name(self, run: RunName, link: str) -> str:
        return f"{self._folder(run)}/out/{link}"

    @override
    def staged_path(self, run: RunName, link: str) -> str:
        return self.staged_name(run, link)

    @override
    async def make(self, run: RunName) -> HostFiles:
        variables = self.variables(run, {"argv0": f"{self._folder(run)}/script"})
        script = await self.template.render(variables)
        if not script.startswith("#!"):
            script = f"#!/bin/sh\n{script}"
        environ = await self.environment(variables)
        exports = [f"export {name}={shlex.quote(value)}" for name, value in environ.items()]
        limits = (
            f"{'-' if self.timeout is None else spelled(self.timeout)} {spelled(self.grace)} "
            f"{'/dev/null' if self.stdin is None else 'stdin'} {int(self.interleaved)}\n"
        )
        files: dict[str, HostFile | None] = {
            "limits": HostFile(limits.encode()),
            "run": HostFile("\n".join([RUN, *exports, BECOME]).encode()),
            "script": HostFile(script.encode(), executable=True),
            "cwd": None,
        }
        staged = self.files(outputs=True)
        if staged:
            files["out"] = None
            files.update({f"out/{name}": None for name, repo in staged.items() if repo.holds_folders})
        if self.stdin is not None:
            files["stdin"] = HostFile(await self.stdin.open(run.job, "rb"))
        return files

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
