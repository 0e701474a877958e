"""An engine that is killed and started again while containers live: none runs twice, and each end is told as it was."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import aiodocker
import pytest
from attrs import evolve
from containers import BUSYBOX, DEADLINE, App
from own_engine import OwnEngine, own_engine
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, Pipeline, Resources, Retries, Session
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.runs.site import RunName
from pydatatask_exec_docker import ContainerTask, DockerManager
from pydatatask_exec_docker.spec import ContainerSpec, Mount
from typing_extensions import override

JOBS = 12
SCRIPT = """\
beat() { read -r now _ < /proc/uptime; echo "$now" >> /log/{{ job }}.{{ attempt }}; }
beat
echo "{{ job }} {{ attempt }}" >> /log/begun
cat
i=0
while [ $i -lt {{ beats }} ] && [ ! -e /log/on ]; do
    sleep 0.25
    beat
    i=$((i+1))
done
echo end
beat
echo "{{ job }} {{ attempt }}" >> /log/ended
"""


class LoggedTask(ContainerTask):
    """Its scripts may write into a folder that is the same for all of them."""

    log: Path

    @override
    async def make(self, run: RunName) -> ContainerSpec:
        spec = await super().make(run)
        return evolve(spec, mounts=(*spec.mounts, Mount(str(self.log), "/log", writable=True)))


class Load:
    """A task whose runs live at the same time, and what they leave."""

    def __init__(self, app: App, engine: OwnEngine, folder: Path, seed: int) -> None:
        chance = random.Random(seed)
        session = Session()

        @session.resource
        async def manager() -> AsyncIterator[DockerManager]:
            async with aiodocker.Docker(engine.url) as client:
                yield DockerManager(app.name, client, local_path=folder / "outputs")

        self.chance = chance
        self.jobs = [f"job{number}" for number in range(JOBS)]
        self.done = InProcessMetadataRepository()
        self.out = InProcessBlobRepository()
        self.task = LoggedTask(
            "task",
            manager,
            None,
            Resources(),
            BUSYBOX,
            SCRIPT,
            done=self.done,
            stdin=InProcessBlobRepository({job: f"input of {job}\n".encode() for job in self.jobs}),
            stdout=self.out,
            network="none",
            grace=1.0,
            max_concurrent=JOBS,
            retries=Retries(20, delay=0.1, factor=1.0, causes={"lost", "evicted"}),
        )
        self._beats = {job: chance.randint(12, 32) for job in self.jobs}
        self.task.link("beats", InProcessMetadataRepository(self._beats), is_input=True)
        self.task.log = folder / "log"
        self.task.log.mkdir()
        self.pipeline = Pipeline([self.task], session)

    def hold(self, jobs: Sequence[str]) -> None:
        """Have jobs beat until they are let go. To be called before they begin."""
        self._beats.update(dict.fromkeys(jobs, 1_000_000))

    def let_go(self) -> None:
        (self.task.log / "on").touch()

    def lines(self, name: str) -> list[str]:
        file = self.task.log / name
        return file.read_text().splitlines() if file.exists() else []

    @property
    def progress(self) -> int:
        """How often something has begun or ended."""
        return len(self.lines("begun")) + len(self.lines("ended"))

    async def until_progress(self, running: asyncio.Task[Controller]) -> None:
        """Wait until a few more have begun or ended, or all have."""
        more = self.progress + self.chance.randint(1, 4)
        await self.until(lambda: running.done() or self.progress >= more, "progress")

    async def until(self, found: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                while not found():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; begun: {self.lines('begun')}") from None

    def check(self) -> None:
        """See that each job has succeeded, that no attempt began twice, and that no two of a job lived together."""
        begun, ended = self.lines("begun"), self.lines("ended")
        assert set(Counter(begun).values()) == {1}
        assert {job: record["result"] for job, record in self.done.data.items()} == dict.fromkeys(self.jobs, "success")
        assert self.out.data == {job: f"input of {job}\nend\n".encode() for job in self.jobs}
        for job, record in self.done.data.items():
            # Nothing that came to its end was told as lost.
            assert [line for line in ended if line.startswith(f"{job} ")] == [f"{job} {record['attempt']}"]
            for earlier in record.get("attempts", []):
                assert (earlier["result"], earlier["cause"]) in {("lost", "lost"), ("lost", "evicted")}, earlier
            beats = [
                [float(beat) for beat in self.lines(f"{job}.{attempt + 1}")] for attempt in range(record["attempt"])
            ]
            lives = [(run[0], run[-1]) for run in beats if run]
            assert all(end < begin for (_, end), (begin, _) in pairwise(lives)), lives


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "helper"),
    [
        pytest.param(("--live-restore",), False, id="containers-go-on"),
        pytest.param((), False, id="containers-are-ended", marks=pytest.mark.campaign),
        pytest.param(("--live-restore",), True, id="after-its-helper", marks=pytest.mark.campaign),
    ],
)
async def test_an_engine_that_is_killed_again_and_again_loses_nothing(
    app: App, tmp_path: Path, flags: tuple[str, ...], helper: bool
) -> None:
    with own_engine(app, *flags) as engine:
        load = Load(app, engine, tmp_path, seed=1)
        async with load.pipeline as pipeline:
            running = asyncio.ensure_future(pipeline.run(timeout=300))
            for _ in range(2):
                await load.until_progress(running)
                if helper:
                    await asyncio.to_thread(engine.kill, "containerd")
                    await asyncio.sleep(load.chance.uniform(0, 2))
                await asyncio.to_thread(engine.kill)
                await asyncio.sleep(load.chance.uniform(0, 1.5))
                await asyncio.to_thread(engine.start)
            await running
        load.check()
        assert engine.client.containers.list(all=True) == []


@pytest.mark.slow
async def test_what_ran_on_a_machine_that_lost_power_is_lost_and_may_be_tried_again(app: App, tmp_path: Path) -> None:
    with own_engine(app) as engine:
        load = Load(app, engine, tmp_path, seed=2)
        held = load.jobs[2:]
        load.hold(held)
        async with load.pipeline as pipeline:
            running = asyncio.ensure_future(pipeline.run(timeout=300))
            # An end counts when it is recorded: what was about to be written when the power failed is lost.
            await load.until(lambda: len(load.lines("begun")) == JOBS and len(load.done.data) == 2, "two ends")
            await asyncio.to_thread(engine.cut_power)
            await asyncio.to_thread(engine.start)
            load.let_go()
            await running
        load.check()
        assert {job for job, record in load.done.data.items() if record["attempt"] > 1} == set(held)
        assert engine.client.containers.list(all=True) == []
