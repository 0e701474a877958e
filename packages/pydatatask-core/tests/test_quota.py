"""Quotas: what fits, who comes first, and what waits for what."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st
from pydatatask_core import (
    ConfigurationError,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Session,
)
from pydatatask_core.clock import now
from pydatatask_core.pipeline.events import Event, Finished, Launched, LaunchFailed, Waiting
from pydatatask_core.pipeline.quota import Request
from pydatatask_core.task.record import RunRecord
from pydatatask_core.task.run import Ended, RunOptions, RunTask
from pydatatask_core.testing import simulate
from typing_extensions import Unpack, override


@pytest.mark.parametrize(
    ("cpu", "mem", "expected"),
    [
        ("500m", "1Gi", Resources(0.5, 2**30)),
        (2, 1000, Resources(2.0, 1000)),
        ("1.5", "1.5k", Resources(1.5, 1500)),
        ("1e1", "1M", Resources(10.0, 10**6)),
    ],
)
def test_amounts_are_read_as_kubernetes_writes_them(cpu: str | int, mem: str | int, expected: Resources) -> None:
    assert Resources.parse(cpu, mem) == expected


@pytest.mark.parametrize("text", ["", "one", "1 core", "-1", "1Q", "nan"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="cpu"):
        Resources.parse(text, 0)


costs = st.builds(Resources, st.integers(1, 8).map(float), st.integers(0, 8))


@given(st.lists(st.tuples(costs, st.integers(0, 2)), max_size=30), st.data())
def test_the_quota_is_never_exceeded_nothing_starves_and_priority_holds(
    wishes: Sequence[tuple[Resources, int]], data: st.DataObject
) -> None:
    quota = Resources(10.0, 10)
    manager = ResourceManager(quota)
    live: list[Request] = []
    waiting: list[Request] = []

    def granted(request: Request) -> None:
        waiting.remove(request)
        live.append(request)

    def check() -> None:
        cpu, mem = sum(run.cost.cpu for run in live), sum(run.cost.mem for run in live)
        assert cpu <= 10
        assert mem <= 10
        highest = max((request.priority for request in waiting), default=None)
        for request in waiting:
            fits = cpu + request.cost.cpu <= 10 and mem + request.cost.mem <= 10
            assert not (fits and request.priority == highest), "room is left unused"

    for cost, priority in wishes:
        request = Request(cost, priority, 60, granted)
        (live if manager.request(request, 0) is None else waiting).append(request)
        check()
        give_back: bool = data.draw(st.booleans())
        if live and give_back:
            manager.release(live.pop(data.draw(st.integers(0, len(live) - 1))), 0)
            check()
    while live:
        manager.release(live.pop(), 0)
        check()
    assert not waiting


def test_a_smaller_job_of_the_same_priority_passes_one_that_does_not_fit() -> None:
    manager = ResourceManager(Resources(4.0, 0))
    started: list[Request] = []
    large, small = (Request(Resources(float(cpu)), 0, 60, started.append) for cpu in (4, 1))
    first = Request(Resources(3.0), 0, 60, started.append)
    assert manager.request(first, 0) is None
    assert manager.request(large, 0) == "cpu"
    assert manager.request(small, 0) is None


def test_a_job_of_lower_priority_does_not_pass_one_that_waits() -> None:
    manager = ResourceManager(Resources(4.0, 0))
    started: list[Request] = []
    first = Request(Resources(3.0), 1, 60, started.append)
    large, small = Request(Resources(4.0), 1, 60, started.append), Request(Resources(1.0), 0, 60, started.append)
    assert manager.request(first, 0) is None
    assert manager.request(large, 0) == "cpu"
    assert manager.request(small, 0) == "a job of higher priority"
    manager.release(first, 0)
    assert started == [large]


def test_launches_are_counted_in_the_window() -> None:
    manager = ResourceManager(Resources(100.0, 0, launches=2))
    started: list[Request] = []
    requests = [Request(Resources(launches=1), 0, 10.0, started.append) for _ in range(4)]
    assert [manager.request(request, time) for request, time in zip(requests, (0, 4, 5, 6), strict=True)] == [
        None,
        None,
        "launches",
        "launches",
    ]
    assert manager.next_look(6) == pytest.approx(4)
    manager.look(10)
    assert started == [requests[2]]
    manager.look(14)
    assert started == requests[2:]


def task(name: str, jobs: int, manager: ResourceManager, cpu: float, live: list[float]) -> InProcessSyncTask:
    async def work(job: str) -> None:
        live.append(cpu)
        assert sum(live) <= manager.quota.cpu
        await asyncio.sleep(0)
        live.remove(cpu)

    done = InProcessMetadataRepository()
    made = InProcessSyncTask(
        name, done, func=work, resource_manager=manager, job_resources=Resources(cpu), max_concurrent=100
    )
    made.link("source", InProcessMetadataRepository({f"j{n}": {} for n in range(jobs)}), is_input=True)
    return made


async def run(*tasks: InProcessSyncTask, **options: bool) -> list[Event]:
    told: list[Event] = []
    async with asyncio.timeout(20), Pipeline(tasks, Session()) as pipeline:
        await pipeline.run(observers=[told.append], **options)
    return told


def done(made: InProcessSyncTask) -> int:
    assert isinstance(made.done, InProcessMetadataRepository)
    assert {record["result"] for record in made.done.data.values()} <= {"success"}
    return len(made.done.data)


async def test_tasks_that_share_a_quota_stay_within_it_and_all_jobs_run() -> None:
    manager = ResourceManager(Resources(5.0, 0))
    live: list[float] = []
    tasks = [task("large", 40, manager, 4.0, live), task("small", 200, manager, 1.0, live)]
    told = await run(*tasks)
    assert [done(made) for made in tasks] == [40, 200]
    assert {event.lacking for event in told if isinstance(event, Waiting)} == {"cpu"}
    assert manager.used == Resources()


async def test_a_job_that_can_never_fit_is_told_at_once_and_the_others_run() -> None:
    manager = ResourceManager(Resources(5.0, 0))
    live: list[float] = []
    tasks = [task("huge", 1, manager, 6.0, live), task("small", 3, manager, 1.0, live)]
    told = await run(*tasks)
    assert [done(made) for made in tasks] == [0, 3]
    refused = [event for event in told if isinstance(event, LaunchFailed)]
    assert [(event.task, event.delay) for event in refused] == [("huge", None)]
    assert "the cpu of the whole quota is less" in str(refused[0].error)


def test_a_quota_of_launches_lets_jobs_in_as_the_window_moves() -> None:
    begun: list[float] = []

    async def main() -> None:
        manager = ResourceManager(Resources(5.0, 0, launches=10))
        made = InProcessSyncTask(
            "task", InProcessMetadataRepository(), resource_manager=manager, window=5, max_concurrent=100
        )

        @made
        async def work(job: str) -> None:
            begun.append(asyncio.get_running_loop().time())

        made.link("source", InProcessMetadataRepository({f"j{n}": {} for n in range(35)}), is_input=True)
        await run(made)

    simulate(main)
    assert len(begun) == 35
    assert all(later - earlier >= 5 for earlier, later in zip(begun, begun[10:], strict=False))
    assert begun[-1] < 16


async def test_launch_once_starts_all_that_was_ready_though_it_had_to_wait() -> None:
    manager = ResourceManager(Resources(2.0, 0))
    made = task("task", 20, manager, 1.0, [])
    await run(made, launch_once=True)
    assert done(made) == 20


async def test_a_number_is_the_priority_of_all_jobs_of_a_task() -> None:
    manager = ResourceManager(Resources(1.0, 0))
    tasks = []
    for name, priority in (("low", 0), ("high", 1)):
        made = task(name, 10, manager, 1.0, [])
        made.priority = priority
        tasks.append(made)
    order = [event.task for event in await run(*tasks) if isinstance(event, Launched)]
    assert order[1:11] == ["high"] * 10


async def test_stop_forgets_what_waits() -> None:
    manager = ResourceManager(Resources(1.0, 0))
    made = task("task", 20, manager, 1.0, [])
    pipeline = Pipeline([made], Session())
    async with asyncio.timeout(20), pipeline:
        controller = pipeline.make_controller(
            [lambda event: controller.stop() if isinstance(event, Launched) else None]
        )
        await controller.run()
    assert done(made) == 1
    assert manager.used == Resources()


@pytest.mark.parametrize("turns", range(8))
def test_what_was_granted_as_the_controller_was_cancelled_is_given_back(turns: int) -> None:
    async def main() -> None:
        manager = ResourceManager(Resources(1.0, 0))

        async def takes_as_long_as_the_controller_lives(job: str) -> None:
            await asyncio.sleep(1)
            for _ in range(turns):
                await asyncio.sleep(0)

        tasks = [
            InProcessSyncTask(
                name,
                InProcessMetadataRepository(),
                func=takes_as_long_as_the_controller_lives,
                resource_manager=manager,
                job_resources=Resources(1.0),
            )
            for name in ("one", "other")
        ]
        for made in tasks:
            made.link("source", InProcessMetadataRepository({f"j{number}": {} for number in range(3)}), is_input=True)
        pipeline = Pipeline(tasks, Session())
        async with pipeline:
            with pytest.raises(TimeoutError):
                await pipeline.run(timeout=1)
            assert manager.used == Resources()
            await pipeline.run()
        assert [done(made) for made in tasks] == [3, 3]

    simulate(main)


class Outside(RunTask):
    """Runs that go on without the controller: those in ``live`` end when ``release`` is set."""

    def __init__(self, name: str, live: Sequence[str], **options: Unpack[RunOptions]) -> None:
        super().__init__(name, InProcessMetadataRepository(), **options)
        self.live = set(live)
        self.adopted: list[str] = []
        self.begun: list[str] = []
        self.release = asyncio.Event()

    @override
    async def live_jobs(self) -> Sequence[str]:
        return sorted(self.live)

    @override
    async def run(self, job: str) -> Ended:
        start = now()
        if job in self.live:
            self.adopted.append(job)
            await self.release.wait()
            self.live.discard(job)
        else:
            self.begun.append(job)
        record = RunRecord(result="success", start_time=start, end_time=now())
        await self.publish(job, record)
        return Ended(record)


async def test_live_runs_of_an_earlier_controller_are_adopted_once_and_count_against_the_quota() -> None:
    manager = ResourceManager(Resources(3.0, 0))
    outside = Outside("outside", ["j1", "j2"], resource_manager=manager, job_resources=Resources(1.0))
    outside.link("source", InProcessMetadataRepository({f"j{number}": {} for number in range(6)}), is_input=True)
    large = task("large", 1, manager, 3.0, [])
    used: list[Resources] = []

    def observe(event: Event) -> None:
        used.append(manager.used)
        if isinstance(event, Launched) and event.task == "large":
            assert not outside.live, "started beside live runs that leave no room"
        if isinstance(event, Finished) and event.job == "j5":
            outside.release.set()

    async with asyncio.timeout(20), Pipeline([large, outside], Session()) as pipeline:
        await pipeline.run(observers=[observe])
    assert sorted(outside.adopted) == ["j1", "j2"]
    assert sorted(outside.begun) == ["j0", "j3", "j4", "j5"]
    assert outside.done is not None
    assert len([job async for job in outside.done]) == 6
    assert done(large) == 1
    assert max(amount.cpu for amount in used) <= 3.0
    assert manager.used == Resources()


async def test_adopted_runs_are_followed_though_they_exceed_a_quota_that_was_lowered() -> None:
    manager = ResourceManager(Resources(1.0, 0))
    outside = Outside("outside", ["j0", "j1", "j2"], resource_manager=manager, job_resources=Resources(1.0))
    outside.link("source", InProcessMetadataRepository({f"j{number}": {} for number in range(4)}), is_input=True)
    outside.release.set()
    async with asyncio.timeout(20), Pipeline([outside], Session()) as pipeline:
        await pipeline.run()
    assert sorted(outside.adopted) == ["j0", "j1", "j2"]
    assert outside.begun == ["j3"]
    assert manager.used == Resources()


async def test_no_job_holds_up_a_smaller_one_of_another_task() -> None:
    manager = ResourceManager(Resources(4.0, 0))
    release = asyncio.Event()

    async def waits(job: str) -> None:
        await release.wait()

    first = task("first", 1, manager, 2.0, [])
    first.func = waits
    large = task("large", 1, manager, 4.0, [])
    small = task("small", 50, manager, 1.0, [])

    def observe(event: Event) -> None:
        if isinstance(event, Finished) and event.task == "small" and done(small) == 50:
            release.set()

    async with asyncio.timeout(20), Pipeline([first, large, small], Session()) as pipeline:
        await pipeline.run(observers=[observe])
    assert [done(made) for made in (first, large, small)] == [1, 1, 50]


async def test_a_priority_that_fails_is_told_and_stops_nothing() -> None:
    ran: list[str] = []

    def priority(job: str) -> int:
        if job == "b":
            raise LookupError("no such priority")
        return 1

    task = InProcessSyncTask("task", InProcessMetadataRepository(), priority=priority)

    @task
    async def function(job: str) -> None:
        ran.append(job)

    task.link("source", InProcessMetadataRepository({"a": {}, "b": {}, "c": {}}), is_input=True)
    async with Pipeline([task], Session()) as pipeline:
        controller = await pipeline.run()
    assert sorted(ran) == ["a", "b", "c"]
    (problem,) = controller.problems()
    assert "job b of task task" in str(problem)
    assert "no such priority" in str(problem)


async def test_a_cost_that_fails_sets_its_job_aside_and_stops_nothing() -> None:
    class Costly(InProcessSyncTask):
        @override
        def cost(self, job: str) -> Resources:
            if job == "b":
                raise LookupError("no such cost")
            return Resources(cpu=1)

    quota = ResourceManager(Resources(cpu=1))
    task = Costly("task", InProcessMetadataRepository(), resource_manager=quota, max_concurrent=1)

    @task
    async def function(job: str) -> None:
        pass

    task.link("source", InProcessMetadataRepository({"a": {}, "b": {}, "c": {}}), is_input=True)
    async with Pipeline([task], Session()) as pipeline:
        controller = await pipeline.run()
    (progress,) = controller.progress()
    assert (progress.succeeded, progress.could_not_start) == (2, 1)
    assert "no such cost" in str(controller.problems()[0])
