"""Random tasks that share a quota, with limits of their own, some of whose jobs cease to be ready while they wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from attrs import frozen
from hypothesis import given, strategies as st
from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Session,
)
from typing_extensions import override

QUOTA = 4
DEADLINE = 20.0


@frozen
class Wish:
    """What one task is like."""

    cost: int
    jobs: int
    most: int
    turns: int
    """How often a run gives way to others before it ends."""
    priority: int
    asked: bool
    """Whether its cost is only known by asking."""


wishes = st.builds(
    Wish,
    cost=st.integers(1, 3),
    jobs=st.integers(1, 6),
    most=st.integers(1, 4),
    turns=st.integers(0, 4),
    priority=st.integers(0, 1),
    asked=st.booleans(),
)


class Costly(InProcessSyncTask):
    wish: Wish

    @override
    def cost(self, job: str) -> Resources | None:
        return None if self.wish.asked else Resources(cpu=self.wish.cost)

    @override
    async def ask_cost(self, job: str) -> Resources:
        await asyncio.sleep(0)
        return Resources(cpu=self.wish.cost)


class World:
    """The tasks, and what is checked whenever one starts."""

    def __init__(self, wishes: Sequence[Wish], gone: Sequence[int]) -> None:
        self.manager = ResourceManager(Resources(cpu=QUOTA))
        self.sources: list[InProcessMetadataRepository] = []
        self.live: Counter[int] = Counter()
        self.starts: Counter[tuple[int, str]] = Counter()
        self.deleted: set[tuple[int, str]] = set()
        self.gone = list(gone)
        self.wishes = wishes
        self.tasks = [self.make(number, wish) for number, wish in enumerate(wishes)]

    def make(self, number: int, wish: Wish) -> Costly:
        task = Costly(
            f"task{number}",
            InProcessMetadataRepository(),
            resource_manager=self.manager,
            max_concurrent=wish.most,
            priority=wish.priority,
        )
        task.wish = wish
        source = InProcessMetadataRepository({f"job{job}": {} for job in range(wish.jobs)})
        self.sources.append(source)
        task.link("source", source, is_input=True)

        @task
        async def function(job: str) -> None:
            assert job in source.data, "a job started that was no longer ready"
            self.starts[number, job] += 1
            self.live[number] += 1
            assert self.live[number] <= wish.most
            assert sum(self.wishes[task].cost * runs for task, runs in self.live.items()) <= QUOTA
            await self.take_back()
            for _ in range(wish.turns):
                await asyncio.sleep(0)
            self.live[number] -= 1

        return task

    async def take_back(self) -> None:
        """Delete the input of some job that has not started, if there is one; or give one back that was deleted."""
        if not self.gone:
            return
        if self.gone[-1] % 2 and self.deleted:
            number, job = sorted(self.deleted)[self.gone.pop() % len(self.deleted)]
            self.deleted.discard((number, job))
            await self.sources[number].dump(job, {})
            return
        waiting = [
            (number, job)
            for number, source in enumerate(self.sources)
            for job in source.data
            if not self.starts[number, job]
        ]
        if waiting:
            number, job = waiting[self.gone.pop() % len(waiting)]
            self.deleted.add((number, job))
            await self.sources[number].delete(job)


@given(st.lists(wishes, min_size=1, max_size=4), st.lists(st.integers(0, 20), max_size=8))
def test_limits_hold_and_every_job_that_stays_ready_runs_once(wishes: list[Wish], gone: list[int]) -> None:
    world = World(wishes, gone)

    async def run() -> None:
        async with asyncio.timeout(DEADLINE), Pipeline(world.tasks, Session()) as pipeline:
            controller = await pipeline.run()
        assert controller.problems() == []

    asyncio.run(run())

    wanted = {(number, f"job{job}") for number, wish in enumerate(wishes) for job in range(wish.jobs)}
    assert world.starts == Counter(wanted - world.deleted)
    for task in world.tasks:
        assert isinstance(task.done, InProcessMetadataRepository)
        assert all(record["result"] == "success" for record in task.done.data.values())
    assert world.manager.used == Resources()
