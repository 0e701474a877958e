"""Pipelines in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest
from pydatatask_core import (
    ExecutorTask,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Repository,
    Retries,
    Session,
)
from pydatatask_core.clock import now
from pydatatask_core.pipeline.events import Event, Listed
from pydatatask_core.pipeline.feed import Polling
from pydatatask_core.testing.simulation import BEGINNING, SimulatedExecutor, SimulationStuckError, simulate
from typing_extensions import override


def test_hours_pass_at_once_and_records_tell_them() -> None:
    done = InProcessMetadataRepository()

    async def main() -> None:
        task = InProcessSyncTask("task", done, max_concurrent=1)

        @task
        async def sleeps(job: str) -> None:
            await asyncio.sleep(3600)

        task.link("source", InProcessMetadataRepository({"a": {}, "b": {}}), is_input=True)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert [record["start_time"] - BEGINNING for record in done.data.values()] == [timedelta(0), timedelta(hours=1)]
    assert now() > BEGINNING + timedelta(days=30)


@pytest.mark.slow
def test_a_simulation_that_waits_for_nothing_says_so() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationStuckError):
        simulate(main)


def run_two_thousand() -> tuple[list[str], dict[str, object], int]:
    first_done, second_done = InProcessMetadataRepository(), InProcessMetadataRepository()
    ended: list[str] = []

    async def main() -> int:
        pool = SimulatedExecutor(
            100, duration=lambda job: 1 + int(job[1:]) % 7, fails=lambda job: job.endswith("9"), effect=ended.append
        )
        first = ExecutorTask("first", pool, first_done, in_process=True, retries=Retries(1, delay=60, jitter=0))
        second = ExecutorTask("second", pool, second_done, in_process=True)

        async def never_called(job: str) -> None:
            raise AssertionError

        first(never_called)
        second(never_called)

        first.link("source", InProcessMetadataRepository({f"j{n}": {} for n in range(2_000)}), is_input=True)
        second.plug(first)
        async with Pipeline([first, second], Session()) as pipeline:
            await pipeline.run()
        return pool.most_at_once

    most = simulate(main)
    assert len(first_done.data) == 2_000
    assert len(second_done.data) == 1_800
    assert {record["attempt"] for record in first_done.data.values()} == {1, 2}
    return ended, first_done.data, most


@pytest.mark.slow
def test_a_simulated_pool_keeps_to_its_workers_and_every_run_is_the_same() -> None:
    one, other = run_two_thousand(), run_two_thousand()
    assert one == other
    assert one[2] == 100


class Still(Repository):
    """A store that can only be listed, and takes its time."""

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        await asyncio.sleep(0.5)
        for job in list[str]():
            yield job

    @override
    async def info(self, job: str, /) -> None: ...

    @override
    async def delete(self, job: str, /) -> None: ...


def test_polls_grow_rare_while_nothing_changes_and_cost_no_more_than_their_share() -> None:
    times: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def observe(event: Event) -> None:
            if isinstance(event, Listed):
                times.append(loop.time())

        task = InProcessSyncTask("task", InProcessMetadataRepository())

        @task
        async def nothing(job: str) -> None: ...

        task.link("source", Still(), is_input=True)
        pipeline = Pipeline([task], Session())
        pipeline.polling = Polling(shortest=1, longest=30, growth=1.5, share=0.05)
        async with pipeline:
            with pytest.raises(TimeoutError):
                await pipeline.run(forever=True, timeout=3600, observers=[observe])

    simulate(main)
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert min(gaps) >= 0.5 / 0.05
    assert max(gaps) == pytest.approx(30.5)
