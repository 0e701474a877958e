"""Quotas where what a job needs is only known by asking for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Session,
)
from pydatatask_core.clock import now
from pydatatask_core.errors import StoreUnavailableError, TemplateError
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.plan import plan
from pydatatask_core.task.record import RunRecord
from pydatatask_core.task.run import Again, Dropped, Ended, Left, RunTask
from pydatatask_core.testing import simulate
from typing_extensions import override

DEADLINE = 20.0


class Asked(InProcessSyncTask):
    """Each job needs as much cpu as its data say, which is asked for."""

    asked: Counter[str]
    answer: Callable[[str], None] | None = None
    gate: asyncio.Event | None = None

    @override
    def cost(self, job: str) -> Resources | None:
        return None

    @override
    async def ask_cost(self, job: str) -> Resources:
        self.asked[job] += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            self.answer(job)
        data: Any = await self.links["source"].repo.info(job)
        return Resources(cpu=data["cpu"])


class Stage:
    """A task whose runs end when they are let go."""

    def __init__(self, quota: Resources, jobs: Mapping[str, float], most: int | None = None) -> None:
        self.manager = ResourceManager(quota)
        self.done = InProcessMetadataRepository()
        self.source = InProcessMetadataRepository({job: {"cpu": cpu} for job, cpu in jobs.items()})
        self.task = Asked("task", self.done, resource_manager=self.manager, max_concurrent=most)
        self.task.asked = Counter()
        self.task.link("source", self.source, is_input=True)
        self.live: dict[str, asyncio.Event] = {}
        self.starts: Counter[str] = Counter()
        self.most = 0.0

        @self.task
        async def function(job: str, source: InProcessMetadataRepository) -> None:
            self.starts[job] += 1
            self.most = max(self.most, self.manager.used.cpu)
            self.live[job] = asyncio.Event()
            await self.live[job].wait()
            del self.live[job]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Controller]:
        async with asyncio.timeout(DEADLINE), Pipeline([self.task], Session()) as pipeline:
            controller = pipeline.make_controller()
            run = asyncio.create_task(controller.run())
            try:
                yield controller
                await run
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)

    async def let_go(self) -> None:
        while len(self.done.data) < len(self.source.data):
            for event in list(self.live.values()):
                event.set()
            await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0)


async def test_asked_costs_stay_within_the_quota_and_each_job_is_asked_and_run_once() -> None:
    jobs = {f"{size}{number}": float(size) for size in (1, 3, 8) for number in range(30)}
    stage = Stage(Resources(cpu=10), jobs)

    async with stage.running():
        await stage.let_go()

    assert stage.most <= 10
    assert stage.starts == Counter(jobs.keys())
    assert stage.task.asked == Counter(jobs.keys())
    assert stage.manager.used == Resources()


async def test_a_launch_of_asked_cost_counts_once() -> None:
    stage = Stage(Resources(cpu=10, launches=3), {"a": 1.0, "b": 1.0, "c": 1.0})

    async with stage.running():
        await until(lambda: len(stage.live) == 3)
        await stage.let_go()


async def test_what_a_job_of_asked_cost_waits_for_is_told() -> None:
    stage = Stage(Resources(cpu=10), {"a": 8.0, "b": 8.0})

    async with stage.running() as controller:
        await until(lambda: len(stage.live) == 1 and bool(list(controller.lanes[0].shortages())))
        (shortage,) = controller.lanes[0].shortages()
        assert (shortage.lacking, shortage.cost, len(shortage.jobs)) == ("cpu", Resources(cpu=8.0), 1)
        await stage.let_go()


async def test_a_job_that_cannot_tell_what_it_needs_is_set_aside_and_stops_nothing() -> None:
    stage = Stage(Resources(cpu=10), {"b": 1.0, "huge": 11.0, "a": 1.0}, most=1)

    def answer(job: str) -> None:
        if job == "b":
            raise TemplateError("no such variable")

    stage.task.answer = answer
    async with stage.running() as controller:
        await until(lambda: len(controller.problems()) == 2 and bool(stage.live))
        stage.live["a"].set()

    assert {job for lane in controller.lanes for job in lane.set_aside} == {"b", "huge"}
    assert stage.starts == Counter("a")
    assert stage.manager.used == Resources()


def test_a_store_that_cannot_be_asked_for_a_cost_is_asked_again() -> None:
    async def scenario() -> None:
        stage = Stage(Resources(cpu=10), {"a": 1.0})

        def answer(job: str) -> None:
            if stage.task.asked[job] < 3:
                raise StoreUnavailableError("it is away")

        stage.task.answer = answer
        async with Pipeline([stage.task], Session()) as pipeline:
            run = asyncio.create_task(pipeline.run())
            while not stage.live:
                await asyncio.sleep(0.1)
            await stage.let_go()
            await run
        assert stage.task.asked["a"] == 3

    simulate(scenario)


async def test_a_job_that_is_no_longer_ready_when_its_cost_is_known_does_not_start() -> None:
    stage = Stage(Resources(cpu=10), {"a": 1.0})
    stage.task.gate = asyncio.Event()

    async with stage.running():
        await until(lambda: stage.task.asked["a"] == 1)
        stage.task.answer = lambda _: stage.done.data.update(a={"result": "success"})
        await stage.done.dump("a", {"result": "success"})
        stage.task.gate.set()

    assert not stage.starts
    assert stage.manager.used == Resources()


async def test_a_controller_that_is_stopped_while_it_asks_starts_nothing() -> None:
    stage = Stage(Resources(cpu=10), {"a": 1.0})
    stage.task.gate = asyncio.Event()

    async with stage.running() as controller:
        await until(lambda: stage.task.asked["a"] == 1)
        controller.stop()
        stage.task.gate.set()

    assert not stage.starts
    assert stage.manager.used == Resources()


async def test_a_controller_that_is_cancelled_while_it_asks_leaves_nothing_reserved() -> None:
    stage = Stage(Resources(cpu=10), {"a": 1.0})
    stage.task.gate = asyncio.Event()

    async with Pipeline([stage.task], Session()) as pipeline:
        run = asyncio.create_task(pipeline.run())
        await until(lambda: stage.task.asked["a"] == 1)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    assert not stage.starts
    assert stage.manager.used == Resources()


async def test_a_dry_run_asks_what_jobs_need() -> None:
    stage = Stage(Resources(cpu=10), {"a": 8.0, "b": 8.0, "c": 1.0})

    def answer(job: str) -> None:
        if job == "c":
            raise TemplateError("no such variable")

    stage.task.answer = answer
    async with Pipeline([stage.task], Session()) as pipeline:
        planned = {one.job: one.held_back_by for one in (await plan(pipeline)).jobs}

    assert planned == {"a": None, "b": "cpu", "c": "its resources, which cannot be told: no such variable"}


class Elsewhere(RunTask):
    """Runs that another process does: one is live from before, and all end as soon as somebody follows them."""

    asked = True

    @override
    async def live_jobs(self) -> Collection[str]:
        return ["old"]

    @override
    def cost(self, job: str) -> Resources | None:
        return None if self.asked else Resources(cpu=1)

    @override
    async def ask_cost(self, job: str) -> Resources:
        assert job != "old", "a live run need not ask"
        return Resources(cpu=1)

    @override
    async def run(self, job: str) -> Ended | Again | Dropped | Left:
        if self.leaving:
            return Left()
        record = RunRecord(result="success", start_time=now(), end_time=now())
        await self.publish(job, record)
        return Ended(record)


def elsewhere(quota: ResourceManager) -> Elsewhere:
    task = Elsewhere("elsewhere", InProcessMetadataRepository(), resource_manager=quota)
    task.link("source", InProcessMetadataRepository({"old": {}, "new": {}, "next": {}}), is_input=True)
    return task


async def test_a_live_run_of_which_nothing_is_known_is_followed_all_the_same() -> None:
    quota = ResourceManager(Resources(cpu=1))
    task = elsewhere(quota)

    async with asyncio.timeout(DEADLINE), Pipeline([task], Session()) as pipeline:
        controller = await pipeline.run()

    assert controller.problems() == []
    assert isinstance(task.done, InProcessMetadataRepository)
    assert sorted(task.done.data) == ["new", "next", "old"]
    assert quota.used == Resources()


async def test_who_leaves_runs_to_go_on_does_not_wait_for_room_among_them() -> None:
    task = elsewhere(ResourceManager(Resources(cpu=1)))
    task.asked = False

    async with asyncio.timeout(DEADLINE), Pipeline([task], Session()) as pipeline:
        controller = await pipeline.run(leave=True)

    (progress,) = controller.progress()
    assert (progress.launched, progress.succeeded, progress.could_not_start) == (1, 0, 0)
