"""Random pipelines in simulated time, changed while they run, stopped and started again, against a naive oracle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from attrs import Factory, define, frozen
from hypothesis import example, given, settings, strategies as st
from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Retries,
    Session,
)
from pydatatask_core.pipeline.events import Event, Finished
from pydatatask_core.testing import simulate

JOBS = [f"j{number}" for number in range(8)]
QUOTA = 4.0
"""Cores."""
DURATIONS = [0.0, 0.0, 0.5, 1.0, 7.0]
"""Seconds that runs take. Many end at the same time."""


@frozen
class TaskPlan:
    plugged: frozenset[int]
    """Earlier tasks that this one is plugged into."""
    reads: frozenset[int]
    """Earlier tasks whose outputs it reads without being plugged in. Without any of both it reads the source."""
    retries: int
    failure_ok: bool
    max_concurrent: int | None
    cpu: float | None
    """What a run needs of the quota, if it has one."""
    by_priority: bool


@frozen
class Change:
    after: float
    """Seconds since the change before."""
    what: str
    """``add`` or ``remove`` a job of the source, or ``redo`` one of a task."""
    job: str
    task: int


@frozen
class Plan:
    tasks: list[TaskPlan]
    failing: list[int]
    """How often the function of a task fails on a job before it succeeds, by turns."""
    first: list[str]
    changes: list[Change]
    stop_after: float | None
    """Seconds after which the controller is stopped and another one is started."""

    def failures(self, task: int, job: str) -> int:
        return self.failing[(task * len(JOBS) + JOBS.index(job)) % len(self.failing)]


@st.composite
def task_plans(draw: st.DrawFn, number: int) -> TaskPlan:
    earlier = st.frozensets(st.integers(0, number - 1), max_size=2) if number else st.just(frozenset[int]())
    return TaskPlan(
        plugged=draw(earlier),
        reads=draw(earlier),
        retries=draw(st.integers(0, 2)),
        failure_ok=draw(st.booleans()),
        max_concurrent=draw(st.sampled_from([None, 1, 2])),
        cpu=draw(st.sampled_from([None, 1.0, 3.0, 4.0, 5.0])),
        by_priority=draw(st.booleans()),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tasks = [draw(task_plans(number)) for number in range(draw(st.integers(1, 4)))]
    changes = st.builds(
        Change,
        after=st.sampled_from([0.0, 0.0, 0.5, 3.0]),
        what=st.sampled_from(["add", "add", "remove", "redo"]),
        job=st.sampled_from(JOBS),
        task=st.integers(0, len(tasks) - 1),
    )
    return Plan(
        tasks=tasks,
        failing=draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=1, max_size=11)),
        first=draw(st.lists(st.sampled_from(JOBS), unique=True)),
        changes=draw(st.lists(changes, max_size=10)),
        stop_after=draw(st.none() | st.sampled_from([0.0, 0.5, 2.0, 8.0])),
    )


@define
class World:
    """The stores, the runs, and what must be true of them at every moment."""

    plan: Plan
    source: InProcessMetadataRepository = Factory(InProcessMetadataRepository)
    done: list[InProcessMetadataRepository] = Factory(list)
    made: list[InProcessMetadataRepository] = Factory(list)
    running: Counter[tuple[int, str]] = Factory(Counter)
    calls: Counter[tuple[int, str]] = Factory(Counter)
    attempts: Counter[tuple[int, str]] = Factory(Counter)
    """Those since the last record."""
    changed: bool = False
    """Whether anything but additions was made to the stores by others."""
    faults: list[str] = Factory(list)

    def may_start(self, number: int, job: str) -> bool:
        """Say, from the stores alone, whether a task may start on a job."""
        task = self.plan.tasks[number]
        if job in self.done[number].data:
            return False
        if not (task.plugged or task.reads) and job not in self.source.data:
            return False
        return all(job in self.made[other].data for other in task.plugged | task.reads) and all(
            job in self.done[other].data
            and (self.plan.tasks[other].failure_ok or self.done[other].data[job]["result"] == "success")
            for other in task.plugged
        )

    def check_start(self, number: int, job: str) -> None:
        task = self.plan.tasks[number]
        if not self.may_start(number, job):
            self.faults.append(f"task {number} started on {job} though it may not")
        if self.running[number, job] > 1:
            self.faults.append(f"two runs of task {number} on {job}")
        live = [run for run, times in self.running.items() for _ in range(times)]
        if task.max_concurrent is not None and sum(run[0] == number for run in live) > task.max_concurrent:
            self.faults.append(f"more than {task.max_concurrent} runs of task {number}")
        if sum(self.plan.tasks[run[0]].cpu or 0.0 for run in live) > QUOTA:
            self.faults.append(f"the quota is exceeded by task {number} on {job}")

    async def run(self, number: int, job: str) -> None:
        """Be the function of a task."""
        self.running[number, job] += 1
        self.check_start(number, job)
        try:
            self.calls[number, job] += 1
            self.attempts[number, job] += 1
            await self.made[number].dump(job, self.calls[number, job])
            fails = self.calls[number, job] <= self.plan.failures(number, job)
            await asyncio.sleep(DURATIONS[(number + JOBS.index(job)) % len(DURATIONS)])
            if fails:
                raise ValueError(f"call {self.calls[number, job]}")
        finally:
            self.running[number, job] -= 1

    def observe(self, event: Event) -> None:
        if isinstance(event, Finished):
            number, record = int(event.task[1:]), event.record
            attempts = self.attempts.pop((number, event.job))
            failed = self.calls[number, event.job] <= self.plan.failures(number, event.job)
            if record.attempt > attempts or record.succeeded == failed:
                self.faults.append(f"task {number} on {event.job}: attempt {record.attempt} of {attempts}: {record}")
            if failed and record.attempt != self.plan.tasks[number].retries + 1:
                self.faults.append(f"task {number} gave up on {event.job} after attempt {record.attempt}")

    async def change(self, change: Change) -> None:
        if change.what == "add":
            await self.source.dump(change.job, {})
            return
        self.changed = True
        if change.what == "remove":
            await self.source.delete(change.job)
        else:
            await self.done[change.task].delete(change.job)

    def pipeline(self) -> Pipeline:
        manager = ResourceManager(Resources(QUOTA))
        tasks: list[InProcessSyncTask] = []
        for number, plan in enumerate(self.plan.tasks):
            self.done.append(InProcessMetadataRepository())
            self.made.append(InProcessMetadataRepository())
            task = InProcessSyncTask(
                f"t{number}",
                self.done[-1],
                func=_taking_job(partial(self.run, number)),
                retries=Retries(plan.retries, delay=1.0, jitter=0),
                failure_ok=plan.failure_ok,
                max_concurrent=plan.max_concurrent,
                resource_manager=None if plan.cpu is None else manager,
                job_resources=Resources(plan.cpu or 0.0),
                priority=JOBS.index if plan.by_priority else number,
            )
            task.link(f"made{number}", self.made[-1], is_output=True, required_for_output=True)
            for other in plan.plugged:
                task.plug(tasks[other])
            for other in plan.reads - plan.plugged:
                task.link(f"made{other}", self.made[other], is_input=True)
            if not (plan.plugged or plan.reads):
                task.link("source", self.source, is_input=True)
            tasks.append(task)
        return Pipeline(reversed(tasks), Session())

    def check_end(self) -> None:
        """Nothing is left that could start, and without others' meddling all has happened that must."""
        for number, task in enumerate(self.plan.tasks):
            for job in JOBS:
                too_large = task.cpu is not None and task.cpu > QUOTA
                if self.may_start(number, job) and not too_large:
                    self.faults.append(f"task {number} was not started on {job}")
                if too_large and self.calls[number, job]:
                    self.faults.append(f"task {number} was started on {job} though it can never fit")
                if self.changed or self.plan.stop_after is not None or (number, job) not in self.calls:
                    continue
                expected = min(self.plan.failures(number, job), task.retries) + 1
                if self.calls[number, job] != expected:
                    self.faults.append(f"task {number} ran {self.calls[number, job]} times on {job}, not {expected}")


def _taking_job(function: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
    async def work(job: str) -> None:
        await function(job)

    return work


async def live(world: World) -> None:
    for job in world.plan.first:
        await world.source.dump(job, {})

    async def meddle() -> None:
        for change in world.plan.changes:
            await asyncio.sleep(change.after)
            await world.change(change)

    async with world.pipeline() as pipeline:
        meddling = asyncio.ensure_future(meddle())
        try:
            await pipeline.run(timeout=world.plan.stop_after, observers=[world.observe])
        except TimeoutError:
            pass
        await meddling
        await pipeline.run(observers=[world.observe])
    world.check_end()


def check(plan: Plan) -> None:
    world = World(plan)
    simulate(partial(live, world))
    assert world.faults == []


# A quota was granted as the controller was stopped.
GRANTED_AT_THE_STOP = Plan(
    tasks=[TaskPlan(frozenset(), frozenset(), 0, False, None, 3.0, False) for _ in range(2)],
    failing=[0],
    first=[],
    changes=[Change(0.0, "add", "j0", 0), Change(0.0, "add", "j1", 0)],
    stop_after=0.5,
)


# A job's input is removed in the turn in which it is granted its share of the quota.
REMOVED_AS_GRANTED = Plan(
    tasks=[TaskPlan(frozenset(), frozenset(), 0, False, None, cpu, False) for cpu in (None, 3.0)],
    failing=[0],
    first=["j0", "j1", "j2", "j3"],
    changes=[Change(0.5, "add", "j0", 0), Change(0.0, "remove", "j3", 0)],
    stop_after=None,
)


@example(GRANTED_AT_THE_STOP)
@example(REMOVED_AS_GRANTED)
@given(plans())
@settings(max_examples=500)
def test_random_pipelines_do_what_they_must_and_nothing_else(plan: Plan) -> None:
    check(plan)


# In parts that each end before they are taken to hang.
@pytest.mark.campaign
@pytest.mark.parametrize("part", range(5))
@given(plan=plans())
@settings(max_examples=2_000)
def test_many_random_pipelines_do_what_they_must_and_nothing_else(part: int, plan: Plan) -> None:
    check(plan)
