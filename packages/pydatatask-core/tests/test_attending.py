"""Looking after runs that go on, on a site that is out of reach now and then."""

from __future__ import annotations

import asyncio

from attrs import evolve
from pydatatask_core import InProcessMetadataRepository, Pipeline, Session
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask
from typing_extensions import override


class Attended(ShedTask):
    """A task whose runs cannot be looked after at first."""

    failures = 3
    attended: list[Phase]

    @override
    async def attend(self, sighting: Sighting) -> float | None:
        if sighting.phase is Phase.CLAIMED:
            return await super().attend(sighting)
        self.attended.append(sighting.phase)
        if self.failures:
            self.failures -= 1
            raise SiteUnavailableError("out of reach")
        return 5


def attended() -> tuple[Shed, Attended]:
    shed = Shed()
    shed.on_start = shed.begin
    task = Attended(shed, InProcessMetadataRepository(), max_concurrent=1)
    task.inputs.data["other"] = {}
    task.attended = []
    return shed, task


def test_a_run_that_cannot_be_looked_after_is_still_followed_and_keeps_its_place() -> None:
    shed, task = attended()

    async def main() -> None:
        async with Pipeline([task], Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            await asyncio.sleep(600)
            (run,) = shed.runs
            assert task.attended[:3] == [Phase.RUNNING] * 3
            assert len(task.attended) > 100, "it is looked after again and again"
            assert not running.done()
            shed.on_start = shed.end
            shed.end(run)
            await running

    simulate(main)
    assert isinstance(task.done, InProcessMetadataRepository)
    assert {record["result"] for record in task.done.data.values()} == {"success"}
    assert [run.attempt for run in shed.asked_for("claim")] == [1, 1]


def test_a_run_that_ends_while_its_site_is_out_of_reach_is_looked_after_no_more() -> None:
    shed, task = attended()
    del task.inputs.data["other"]
    task.failures = 1

    async def main() -> None:
        async with Pipeline([task], Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            while not task.attended:
                await asyncio.sleep(0.1)
            run = RunName("task", "job", 1)
            shed.put(evolve(shed.runs[run], phase=Phase.ENDED, result="success"))
            await running

    simulate(main)
    assert task.attended == [Phase.RUNNING]
