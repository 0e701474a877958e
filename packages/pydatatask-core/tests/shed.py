"""An execution site in memory, whose runs do what a test tells them to, and a task on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from attrs import evolve
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.clock import now
from pydatatask_core.errors import MissingJobError
from pydatatask_core.repository.protocols import MetadataRepository
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import Cancellation, ExecutionSite, Gone, Phase, RunName, Sighting, Snapshot
from pydatatask_core.streams import BlobReader
from pydatatask_core.task.record import Cause, Result, RunRecord
from pydatatask_core.task.run import RunOptions
from typing_extensions import Unpack, override

__all__ = ["Shed", "ShedTask"]


class Shed(ExecutionSite[str]):
    """A site in memory. What verbs are asked for is noted in ``asked``; ``errors`` are raised by them, once each."""

    def __init__(self) -> None:
        self.runs: dict[RunName, Sighting] = {}
        self.outputs: dict[RunName, bytes] = {}
        self.asked: list[tuple[str, RunName]] = []
        self.errors: dict[str, list[Exception]] = {}
        self.on_start: Callable[[RunName], None] = self.end
        """What a run does when it begins: it succeeds at once, unless said otherwise."""
        self.before: Callable[[str], Awaitable[None]] | None = None
        """Awaited before each verb, with its name."""
        self._watchers: list[asyncio.Queue[Sighting | Gone | Snapshot | Exception]] = []
        self._claims = 0

    async def _ask(self, verb: str, run: RunName) -> None:
        self.asked.append((verb, run))
        if self.before is not None:
            await self.before(verb)
        if left := self.errors.get(verb):
            raise left.pop(0)

    def asked_for(self, verb: str) -> list[RunName]:
        """Give the runs for which a verb was asked."""
        return [run for one, run in self.asked if one == verb]

    def tell(self, event: Sighting | Gone | Snapshot | Exception) -> None:
        """Tell those who watch; an exception ends their watch."""
        for queue in self._watchers:
            queue.put_nowait(event)

    def put(self, sighting: Sighting, *, silently: bool = False) -> Sighting:
        """Let a run be so."""
        self.runs[sighting.run] = sighting
        if not silently:
            self.tell(sighting)
        return sighting

    def begin(self, run: RunName) -> None:
        """Let a run begin."""
        if self.runs[run].phase is Phase.CLAIMED:
            self.put(evolve(self.runs[run], phase=Phase.RUNNING, start_time=now(), identity={"pid": 7}))

    def end(self, run: RunName, result: Result = "success", cause: Cause | None = None) -> None:
        """Let a run begin and end."""
        self.begin(run)
        self.outputs.setdefault(run, f"output {run.attempt}".encode())
        self.put(evolve(self.runs[run], phase=Phase.ENDED, result=result, cause=cause, end_time=now()))

    @property
    @override
    def host(self) -> str:
        return "shed"

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Sighting | Gone | Snapshot]]:
        await self._ask("watch", RunName("", "", 0))
        queue: asyncio.Queue[Sighting | Gone | Snapshot | Exception] = asyncio.Queue()
        self._watchers.append(queue)
        queue.put_nowait(Snapshot(list(self.runs.values())))

        async def events() -> AsyncIterator[Sighting | Gone | Snapshot]:
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event

        try:
            yield events()
        finally:
            self._watchers.remove(queue)

    @override
    async def claim(self, run: RunName, owner: str, spec: str) -> Sighting | None:
        await self._ask("claim", run)
        if run in self.runs:
            return None
        self._claims += 1
        return self.put(Sighting(run=run, owner=owner, claim=str(self._claims), phase=Phase.CLAIMED), silently=True)

    @override
    async def look(self, task: str, job: str) -> list[Sighting]:
        await self._ask("look", RunName(task, job, 0))
        return sorted(
            (seen for run, seen in self.runs.items() if run[:2] == (task, job)), key=lambda seen: seen.run.attempt
        )

    @override
    async def start(self, run: RunName) -> None:
        await self._ask("start", run)
        if self.runs[run].phase is Phase.CLAIMED:
            self.on_start(run)

    @override
    async def cancel(self, sighting: Sighting, how: Cancellation) -> None:
        await self._ask("cancel", sighting.run)
        seen = self.runs[sighting.run]
        if seen.phase is Phase.ENDED:
            # Noted, and told by nobody.
            self.put(evolve(seen, cancellation=how), silently=True)
        else:
            self.put(
                evolve(seen, phase=Phase.ENDED, result="cancelled", cause="cancelled", cancellation=how, end_time=now())
            )

    @override
    async def finish(self, sighting: Sighting) -> Sighting:
        await self._ask("finish", sighting.run)
        return self.put(evolve(sighting, result="lost", cause="lost", end_time=now()), silently=True)

    @override
    async def vanished(self, last: Sighting) -> Sighting:
        await self._ask("vanished", last.run)
        return evolve(last, phase=Phase.ENDED, result="lost", cause="lost", reason="it is gone")

    @override
    async def open_output(self, run: RunName, stream: Literal["stdout", "stderr"], offset: int = 0) -> BlobReader:
        await self._ask("open_output", run)
        if run not in self.outputs:
            raise MissingJobError(f"no output of {run}")
        return await InProcessBlobRepository({"output": self.outputs[run]}).open("output", "rb")

    @override
    async def release(self, task: str, job: str) -> None:
        await self._ask("release", RunName(task, job, 0))
        for run in [run for run in self.runs if run[:2] == (task, job)]:
            del self.runs[run]


class ShedTask(SiteTask[str]):
    """A task on a shed. ``told`` has what people would be told of its runs."""

    def __init__(
        self, shed: Shed, done: MetadataRepository | None, *, name: str = "task", **options: Unpack[RunOptions]
    ) -> None:
        super().__init__(name, done, **options)
        self.shed = shed
        self.out = InProcessBlobRepository()
        self.told: dict[str, int] = {}
        self.inputs = InProcessMetadataRepository({"job": {}})
        self.link("inputs", self.inputs, is_input=True)
        self.link("out", self.out, is_output=True)

    @property
    @override
    def site(self) -> Shed:
        return self.shed

    @override
    async def make(self, run: RunName) -> str:
        return "made"

    @override
    async def collect(self, sighting: Sighting, record: RunRecord) -> None:
        await self.store_output(sighting.run, "stdout", self.out)

    @override
    async def appeared(self, sighting: Sighting) -> None:
        self.told[sighting.run.job] = sighting.run.attempt

    @override
    async def disappeared(self, job: str) -> None:
        self.told.pop(job, None)
