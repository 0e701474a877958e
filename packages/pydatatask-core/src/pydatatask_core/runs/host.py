"""The POSIX site: runs in folders of a host, each looked after by a supervisor that needs nobody.

What a host does is behind the :class:`ProcessManager` protocol, which knows files and shell programs and nothing of
runs. So hosts here and hosts over SSH share all that matters: what is claimed, started, seen, ended and released.
"""

from __future__ import annotations

import itertools
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, NamedTuple

from attrs import evolve, frozen
from typing_extensions import override

from ..errors import SiteUnavailableError
from ..streams import BlobReader
from ..task.record import Cause, Result
from .shell import CANCEL, FINISH, PROBE, SCAN
from .site import Cancellation, ExecutionSite, Gone, Phase, RunName, Sighting, Snapshot

__all__ = [
    "HostFile",
    "HostFiles",
    "HostSite",
    "ProcessManager",
    "RunLine",
    "Supervisor",
    "claim_name",
    "run_path",
    "supervisor_in",
]


@frozen
class HostFile:
    """A file to be made on a host."""

    content: bytes | BlobReader
    """A reader is read to its end, in bounded memory. Whoever gives it to a manager closes it."""
    executable: bool = False


HostFiles = Mapping[str, HostFile | None]
"""Files by relative path; None is an empty folder. Folders that are named before files in them are made on the way."""


class ProcessManager(ABC):
    """A POSIX host: files under the folder of an app, and shell programs.

    Every verb may raise :class:`SiteUnavailableError`, which says nothing about what is there.
    """

    app: str
    """Part of the name of every claim. A valid name."""

    @property
    @abstractmethod
    def host(self) -> str:
        """The host's name for people."""

    @property
    @abstractmethod
    def basedir(self) -> str:
        """The absolute path of the app's folder, of mode 0700 and ours."""

    @property
    def is_here(self) -> bool:
        """Whether paths on the host are paths of this process."""
        return False

    @abstractmethod
    async def claim(self, path: str, files: HostFiles) -> bool:
        """Make a folder with files, whole, at a path under :attr:`basedir`, unless something stands there.

        The folder is made aside and renamed, so that it is never seen in part; of several callers one gets True.
        After a failure or a cancellation the whole folder is there or nothing, but for what :meth:`sweep` removes.

        :raises FileNotFoundError: if the folder that it should be in does not exist.
        :raises SiteFullError: if there is no room.
        """

    @abstractmethod
    async def spawn(self, path: str) -> None:
        """Start a supervisor (:data:`~.shell.SUPERVISE`) for a run's folder, in a session of its own, and let it go."""

    @abstractmethod
    async def sh(self, program: str, *arguments: str) -> str:
        """Run a program of ours by ``sh`` and give what it printed. ``{namespace}`` and ``{offset}`` are put in.

        Arguments of exactly that text stand for the host's pid namespace and clock offset; see :mod:`.shell`.
        """

    @abstractmethod
    async def open(self, path: str, offset: int = 0) -> BlobReader:
        """Open a file under :attr:`basedir` from a byte on.

        :raises MissingJobError: if it does not exist.
        """

    @abstractmethod
    async def remove(self, name: str) -> None:
        """Rename a claim away and delete it. One that does not exist is fine."""

    @abstractmethod
    async def sweep(self) -> None:
        """Delete what removals that were interrupted have left."""

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Tell of runs that began or ended, on lines as :data:`~.shell.SCAN` prints them.

        Complete from entering on, for runs that were there then and those that this object starts: one controller
        drives a pipeline. A line ``all`` begins a list of all runs, which a line ``end`` ends; the first thing that is
        told is such a list. ``gone PATH`` tells of one that is not there. Lines may repeat.
        """

    @cached_property
    def site(self) -> HostSite:
        """The execution site that this host is."""
        return HostSite(self)


def claim_name(task: str, job: str) -> str:
    """Give the name of a claim. Neither names nor jobs hold the character between them."""
    return f"{task}@{job}"


def run_path(run: RunName) -> str:
    """Give the folder of a run, relative to the app's."""
    return f"{claim_name(run.task, run.job)}/{run.attempt}"


def _run_name(path: str) -> RunName | None:
    claim, _, attempt = path.partition("/")
    task, _, job = claim.partition("@")
    return RunName(task, job, int(attempt)) if attempt.isdigit() else None


_ENDS: Mapping[str, tuple[Result, Cause]] = {
    "timeout": ("timeout", "timeout"),
    "cancelled": ("cancelled", "cancelled"),
    "lost": ("lost", "lost"),
}


class RunLine:
    """Reads the lines that the shell programs print about runs."""

    def __init__(self, host: str) -> None:
        self._host = host

    def sighting(self, line: str) -> Sighting | None:
        """Read a line; None if it is about nothing that we made."""
        words = line.split()
        if len(words) != 13 or words[1] == "-":
            return None
        name, owner, claim, cancel, alive, pid, ticks, boot, namespace, began, code, reason, ended = words
        run = _run_name(name)
        if run is None:
            return None
        begun = pid != "-"
        over = ended != "-" or (begun and alive == "no")
        seen = Sighting(
            run=run,
            owner=owner,
            claim=claim,
            phase=Phase.ENDED if over else Phase.RUNNING if begun else Phase.CLAIMED,
            start_time=_time(began),
            host=self._host,
            cancellation=_CANCELLATIONS.get(cancel),
            identity={"pid": int(pid), "ticks": int(ticks), "boot": boot, "namespace": namespace} if begun else {},
            reason=_ELSEWHERE if alive == "unknown" and not over else None,
        )
        if ended == "-" and alive == "unknown" and seen.cancellation is not None:
            # Nobody here can end it, and somebody says that it is over.
            return evolve(seen, phase=Phase.ENDED, result="cancelled", cause="cancelled", reason=_ELSEWHERE)
        if ended == "-":
            return seen
        status = None if code == "-" else int(code)
        result, cause = _ENDS.get(reason) or (("success", None) if status == 0 else ("failure", "exit"))
        return evolve(seen, result=result, cause=cause, return_code=status, end_time=_time(ended))


_CANCELLATIONS: Mapping[str, Cancellation] = {"cancelled": "cancelled", "dropped": "dropped"}
_ELSEWHERE = "its supervisor is in another pid namespace, so that nobody here can tell whether it lives"


def _time(hundredths: str) -> datetime | None:
    return None if hundredths == "-" else datetime.fromtimestamp(int(hundredths) / 100, UTC)


class Supervisor(NamedTuple):
    """A supervisor that is alive."""

    path: str
    """The folder of its run, relative to the app's."""
    pid: int
    ticks: int


def supervisor_in(line: str) -> Supervisor | None:
    """Give the supervisor that a line tells of, if it is alive and its run has not ended."""
    words = line.split()
    if len(words) != 13 or words[4] != "yes" or words[12] != "-":
        return None
    return Supervisor(words[0], int(words[5]), int(words[6]))


class HostSite(ExecutionSite[HostFiles]):
    """A POSIX host as an execution site."""

    def __init__(self, manager: ProcessManager) -> None:
        self.manager = manager
        self._word = secrets.token_hex(8)
        self._claims = itertools.count()

    @cached_property
    def _line(self) -> RunLine:
        # Not before the first line: some hosts are known by name when they have answered.
        return RunLine(self.manager.host)

    @property
    @override
    def host(self) -> str:
        return self.manager.host

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Sighting | Gone | Snapshot]]:
        async with self.manager.watch() as lines:
            yield self._events(lines)

    @override
    async def sweep(self) -> None:
        await self.manager.sweep()

    async def _events(self, lines: AsyncIterator[str]) -> AsyncIterator[Sighting | Gone | Snapshot]:
        runs: list[Sighting] | None = None
        async for line in lines:
            if line == "all":
                runs = []
            elif line == "end" and runs is not None:
                yield Snapshot(runs)
                runs = None
            elif line.startswith("gone "):
                gone = _run_name(line[5:])
                if gone is not None:
                    yield Gone(gone)
            elif (sighting := self._line.sighting(line)) is not None:
                if runs is None:
                    yield sighting
                else:
                    runs.append(sighting)

    @override
    async def claim(self, run: RunName, owner: str, spec: HostFiles) -> Sighting | None:
        """Claim as said. Readers among the files are closed, however it ends."""
        try:
            return await self._claim(run, owner, spec)
        finally:
            for file in spec.values():
                if file is not None and isinstance(file.content, BlobReader):
                    await file.content.close()

    async def _claim(self, run: RunName, owner: str, spec: HostFiles) -> Sighting | None:
        word = f"{self._word}{next(self._claims):x}"
        name = claim_name(run.task, run.job)
        # The claim may have vanished with the attempt before.
        if run.attempt > 1 and await self.look(run.task, run.job):
            return await self._claim_next(run, spec)
        attempt = {f"{run.attempt}/{name}": file for name, file in spec.items()}
        whole = {"claim": HostFile(f"{owner} {word}\n".encode()), str(run.attempt): None, **attempt}
        made = await self.manager.claim(name, whole)
        return Sighting(run=run, owner=owner, claim=word, phase=Phase.CLAIMED, host=self.host) if made else None

    async def _claim_next(self, run: RunName, spec: HostFiles) -> Sighting | None:
        """Claim another attempt within a claim that stands."""
        try:
            if not await self.manager.claim(run_path(run), spec):
                return None
        except FileNotFoundError as error:
            raise SiteUnavailableError(f"The claim of {run} on {self.host} vanished while it was made.") from error
        return next((seen for seen in await self.look(run.task, run.job) if seen.run == run), None)

    @override
    async def look(self, task: str, job: str) -> list[Sighting]:
        told = await self.manager.sh(SCAN, self.manager.basedir, "{namespace}", f"{claim_name(task, job)}/[0-9]*")
        seen = [sighting for line in told.splitlines() if (sighting := self._line.sighting(line)) is not None]
        return sorted(seen, key=lambda sighting: sighting.run.attempt)

    @override
    async def start(self, run: RunName) -> None:
        await self.manager.spawn(run_path(run))

    @override
    async def cancel(self, sighting: Sighting, how: Cancellation) -> None:
        await self._do(CANCEL, sighting.run, how)

    @override
    async def finish(self, sighting: Sighting) -> Sighting:
        told = self._line.sighting((await self._do(FINISH, sighting.run)).strip())
        there = told is not None or any(
            seen.run == sighting.run for seen in await self.look(sighting.run.task, sighting.run.job)
        )
        if not there:
            return await self.vanished(sighting)
        if told is None or (told.phase is Phase.ENDED and told.result is None):
            raise SiteUnavailableError(
                f"The end of {sighting.run} on {self.host} cannot be written down. Is the disk full, or read-only?"
            )
        return told

    @override
    async def vanished(self, last: Sighting) -> Sighting:
        for seen in await self.look(last.run.task, last.run.job):
            if seen.run == last.run:
                return await self.finish(seen) if seen.phase is Phase.ENDED and seen.result is None else seen
        identity = last.identity
        if identity:
            words = (str(identity[key]) for key in ("pid", "ticks", "boot", "namespace"))
            if (await self.manager.sh(PROBE, "{namespace}", *words)).strip() != "no":
                return evolve(last, reason="its run folder is gone, and its process is not")
        return evolve(last, phase=Phase.ENDED, result="lost", cause="lost", reason="its run folder is gone")

    async def _do(self, program: str, run: RunName, *more: str) -> str:
        path = run_path(run)
        return await self.manager.sh(program, f"{self.manager.basedir}/{path}", path, "{namespace}", "{offset}", *more)

    @override
    async def open_output(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int = 0) -> BlobReader:
        return await self.manager.open(f"{run_path(run)}/{stream}", offset)

    @override
    async def release(self, task: str, job: str) -> None:
        await self.manager.remove(claim_name(task, job))
