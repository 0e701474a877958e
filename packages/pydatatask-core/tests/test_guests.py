"""Tasks of which a controller knows no more than that they can be launched and looked after."""

from __future__ import annotations

import asyncio

from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session, Task
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.events import Event, LaunchFailed
from pydatatask_core.testing import simulate
from switched import Switched
from typing_extensions import override


class Kiosk(Task):
    """Each job is done in the round after its launch."""

    def __init__(self, *jobs: str, disabled: bool = False) -> None:
        super().__init__("kiosk", disabled=disabled)
        self.done = InProcessMetadataRepository()
        self.source = InProcessMetadataRepository({job: {} for job in jobs})
        self.link("done", self.done, is_status=True, inhibits_start=True, required_for_output=True)
        self.link("source", self.source, is_input=True)
        self.launched: list[str] = []
        self.left: list[str] = []
        self.forgets: set[str] = set()
        """Jobs of which the first launch leaves no trace."""
        self.refuses: set[str] = set()

    @override
    async def launch(self, job: str) -> None:
        self.launched.append(job)
        if job in self.refuses:
            raise OSError("There is no such machine.")
        if job in self.forgets:
            self.forgets.discard(job)
        else:
            self.left.append(job)

    @override
    async def update(self) -> bool:
        for job in self.left:
            await self.done.dump(job, {})
        self.left.clear()
        return False


def run(*tasks: Task, fail_fast: bool = False, launch_once: bool = False) -> tuple[Controller, list[Event]]:
    events: list[Event] = []

    async def main() -> Controller:
        async with Pipeline(tasks, Session()) as pipeline:
            return await pipeline.run(fail_fast=fail_fast, launch_once=launch_once, observers=[events.append])

    return simulate(main), events


def follower(kiosk: Kiosk) -> tuple[InProcessSyncTask, list[str]]:
    """Make a task that is ready when the kiosk's job is done."""
    ran: list[str] = []

    async def note(job: str) -> None:
        ran.append(job)

    made = InProcessSyncTask("follower", InProcessMetadataRepository(), func=note)
    made.plug(kiosk)
    return made, ran


def test_each_job_is_launched_once_and_what_follows_runs_when_it_is_done() -> None:
    kiosk = Kiosk("a", "b")
    after, ran = follower(kiosk)
    run(kiosk, after)
    assert kiosk.launched == ["a", "b"]
    assert sorted(ran) == ["a", "b"]


def test_a_job_that_left_no_trace_is_launched_again() -> None:
    kiosk = Kiosk("a", "b")
    kiosk.forgets = {"a"}
    run(kiosk)
    assert kiosk.launched == ["a", "b", "a"]


def test_a_job_that_could_not_be_launched_is_told_and_not_tried_again() -> None:
    kiosk = Kiosk("a", "b")
    kiosk.refuses = {"a"}
    controller, events = run(kiosk)
    assert [str(problem) for problem in controller.problems()] == ["There is no such machine."]
    assert [event.job for event in events if isinstance(event, LaunchFailed)] == ["a"]
    assert kiosk.launched == ["a", "b"]
    assert sorted(kiosk.done.data) == ["b"]


def test_a_disabled_one_is_not_launched() -> None:
    kiosk = Kiosk("a", disabled=True)
    run(kiosk)
    assert kiosk.launched == []


def test_nothing_is_launched_before_its_stores_are_open() -> None:
    kiosk, store = Kiosk("a"), Switched()
    kiosk.link("out", store, is_output=True)
    opened: list[bool] = []

    async def main() -> None:
        asyncio.get_running_loop().call_at(10, setattr, store, "error", None)
        async with Pipeline([kiosk], Session()) as pipeline:
            running = asyncio.ensure_future(pipeline.run())
            await asyncio.sleep(9)
            opened.append(not kiosk.launched)
            await running

    simulate(main)
    assert opened == [True]
    assert kiosk.launched == ["a"]


def test_a_stop_keeps_what_becomes_ready_from_being_launched() -> None:
    kiosk = Kiosk()

    async def fail(job: str) -> None:
        await asyncio.sleep(30)
        await kiosk.source.dump("late", {})
        raise ValueError("It fails.")

    failing = InProcessSyncTask("failing", InProcessMetadataRepository(), func=fail)
    failing.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
    run(failing, kiosk, fail_fast=True)
    assert kiosk.launched == []


def test_one_look_launches_only_what_is_ready_then() -> None:
    kiosk = Kiosk("a")

    async def feed(job: str) -> None:
        await asyncio.sleep(30)
        await kiosk.source.dump("late", {})

    feeding = InProcessSyncTask("feeding", InProcessMetadataRepository(), func=feed)
    feeding.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
    run(feeding, kiosk, launch_once=True)
    assert kiosk.launched == ["a"]
