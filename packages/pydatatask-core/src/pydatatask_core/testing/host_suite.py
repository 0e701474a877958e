"""What a host declares and supplies to be tested, and what its suites share."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from attrs import frozen

from ..errors import MissingJobError
from ..pipeline.quota import Resources
from ..repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from ..repository.protocols import BlobRepository
from ..runs.host import HostFile, HostFiles, ProcessManager
from ..runs.observation import Observation, observation_of
from ..runs.site import Phase, RunName, Sighting
from ..task.process import ProcessTask
from ..task.run import Ended

__all__ = ["LOG", "HostSuite", "Scene", "ended", "running", "until"]

LOOK = 0.05
"""Seconds between two looks at what a process does."""

LOG = 'echo "{{ job }} $$" >> ../../../log\n'
"""Notes a start in the app's folder."""


def ended(seen: Sighting) -> bool:
    """Whether a run has ended, and it is known how."""
    return seen.phase is Phase.ENDED and seen.result is not None


def running(seen: Sighting) -> bool:
    """Whether a run has begun and not ended."""
    return seen.phase is Phase.RUNNING


async def until(found: Callable[[], Awaitable[bool]], what: str, deadline: float) -> None:
    """Look until something is so. Fails after the deadline."""
    end = time.monotonic() + deadline
    while not await found():
        assert time.monotonic() < end, f"did not happen within {deadline:.0f} s: {what}"
        await asyncio.sleep(LOOK)


@frozen
class Scene:
    """A task on the host under test, and what it stores."""

    task: ProcessTask
    outputs: Mapping[str, Any]
    errors: Mapping[str, Any]
    records: Mapping[str, Any]
    pids: dict[str, Any]

    async def run(self, job: str = "job") -> dict[str, Any]:
        """Run a job to its end as a controller does, and give the done record."""
        async with self.followed():
            ended = await self.task.run(job)
        assert isinstance(ended, Ended), ended
        record: dict[str, Any] = self.records[job]
        return record

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[Observation]:
        """See the runs of the task, from seeing what is there to leaving it."""
        await self.task.live_jobs()
        try:
            yield observation_of(self.task.site)
        finally:
            await self.task.released()


class HostSuite(ABC):
    """The hooks and flags of one host, and the fixture ``manager``, which gives one with a fresh base folder.

    ``twin`` is a second manager of the same app and folder, as another controller has one.
    """

    deadline: ClassVar[float] = 60.0
    """Seconds after which something that must happen is taken not to happen."""
    sees_others: ClassVar[bool] = True
    """A watch tells of what another controller starts after it was entered, and not only of what was there then."""
    rounds: ClassVar[int] = 20
    """Races for one claim."""
    at_a_time: ClassVar[int] = 10
    """Races that go on at the same time."""
    megabytes: ClassVar[int] = 32
    """The size of what is called large."""

    @abstractmethod
    async def on_host(self, program: str, *arguments: str, as_root: bool = False) -> str:
        """Run a shell program on the host, past the manager, and give what it printed. Fails if it fails."""

    def base(self, manager: ProcessManager) -> str:
        """Give the base folder, in which the app's folder is."""
        return manager.basedir.removesuffix(f"/{manager.app}")

    def scene(
        self,
        manager: ProcessManager,
        script: str,
        *,
        name: str = "task",
        stdin: Mapping[str, bytes] | None = None,
        pids: dict[str, Any] | None = None,
        stdout: BlobRepository | None = None,
        **options: Any,
    ) -> Scene:
        """Make a task over memory repositories; ``stdin`` gives the input by job."""
        outputs = InProcessBlobRepository()
        errors = InProcessBlobRepository()
        records = InProcessMetadataRepository()
        live = InProcessMetadataRepository(pids)
        task = ProcessTask(
            name,
            lambda: manager,
            None,
            Resources(),
            live,
            script,
            done=records,
            stdin=None if stdin is None else InProcessBlobRepository(dict(stdin)),
            stdout=stdout or outputs,
            stderr=options.pop("stderr", errors),
            **options,
        )
        return Scene(task, outputs.data, errors.data, records.data, live.data)

    async def claimed(self, scene: Scene, job: str = "job", owner: str | None = None) -> RunName:
        """Claim the first run of a job at the site, and start nothing."""
        run = RunName(scene.task.name, job, 1)
        assert await scene.task.site.claim(run, owner or scene.task.owner, await scene.task.make(run)) is not None
        return run

    async def seen(
        self, observation: Observation, run: RunName, wanted: Callable[[Sighting], bool], what: str
    ) -> Sighting:
        """Wait until the last attempt at a job is seen to be so."""
        async with asyncio.timeout(self.deadline):
            while True:
                last = observation.latest(run.task, run.job)
                if last is not None and wanted(last):
                    return last
                await observation.change(run.task, run.job, last)
        raise AssertionError(what)

    async def starts(self, manager: ProcessManager) -> list[str]:
        """Give the jobs that began, and forget them."""
        said = await self.on_host('cd "$1" && { [ ! -e log ] || cat log; rm -f log; }', manager.basedir)
        return [line.split()[0] for line in said.splitlines()]

    async def written(self, scene: Scene, output: bytes) -> None:
        """Wait until the last attempt at the job has written so much and no more."""
        run = (await scene.task.site.look("task", "job"))[-1].run

        async def there() -> bool:
            try:
                async with await scene.task.site.open_output(run, "stdout") as file:
                    return await file.read() == output
            except MissingJobError:
                return False

        await until(there, f"{output!r} was written", self.deadline)

    async def pid_in(self, path: str) -> int:
        """Wait for a file with a pid on the host, and give that."""

        async def there() -> bool:
            return bool((await self.on_host('[ ! -s "$1" ] || cat "$1"', path)).strip())

        await until(there, f"{path} was written", self.deadline)
        return int((await self.on_host('cat "$1"', path)).split()[0])

    async def lives(self, pid: int) -> bool:
        """Tell whether a process of the host is alive; a zombie is not."""
        said = await self.on_host('sed "s/.*) //" "/proc/$1/stat" 2>/dev/null || :', str(pid))
        return bool(said.strip()) and not said.startswith("Z")

    async def end(self, pid: int) -> None:
        """Kill a process of the host, and wait until it has gone."""
        await self.on_host('kill -KILL "$1" 2>/dev/null || :', str(pid), as_root=True)

        async def gone() -> bool:
            return not await self.lives(pid)

        await until(gone, f"process {pid} ended", self.deadline)

    async def left(self, manager: ProcessManager) -> list[str]:
        """Give what is in the app's folder besides what always is."""
        # What vanishes while it is looked at is not left.
        said = await self.on_host('cd "$1" && { find . -mindepth 1 2>/dev/null || :; }', manager.basedir)
        return [name for name in said.split() if not name.startswith("./.stamp.") and name not in {"./.new", "./.old"}]

    async def nothing_is_left(self, manager: ProcessManager) -> None:
        """Wait until the app's folder is empty."""

        async def clean() -> bool:
            return not await self.left(manager)

        await until(clean, "the app's folder is empty", self.deadline)


def files(**contents: bytes) -> HostFiles:
    """Give plain files."""
    return {name: HostFile(content) for name, content in contents.items()}
