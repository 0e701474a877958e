"""The life cycle of runs, step by step, on a site in memory and in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Retries,
    Session,
    YamlMetadataBlobRepository,
)
from pydatatask_core.clock import now
from pydatatask_core.errors import SiteUnavailableError, StoreUnavailableError
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.task.run import Dropped, RunOptions
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask
from typing_extensions import Unpack, override

FIRST, SECOND = RunName("task", "job", 1), RunName("task", "job", 2)


def shed_task(**options: Unpack[RunOptions]) -> tuple[Shed, ShedTask]:
    shed = Shed()
    return shed, ShedTask(shed, InProcessMetadataRepository(), **options)


async def run(task: ShedTask) -> None:
    async with Pipeline([task], Session()) as pipeline:
        await pipeline.run()


def time() -> float:
    return asyncio.get_running_loop().time()


async def until(found: Callable[[], object]) -> None:
    """Wait in simulated time until something is so."""
    async with asyncio.timeout(1000):
        while not found():
            await asyncio.sleep(0.01)


def record_of(task: ShedTask) -> dict[str, Any]:
    assert isinstance(task.done, InProcessMetadataRepository)
    record: dict[str, Any] = task.done.data["job"]
    return record


def left_behind(shed: Shed, task: ShedTask, **changed: Any) -> Sighting:
    """Put a run at the site that an earlier controller began an hour ago."""
    began = now() - timedelta(hours=1)
    seen = Sighting(run=FIRST, owner=task.owner, claim="earlier", phase=Phase.RUNNING, start_time=began)
    return shed.put(evolve(seen, **changed), silently=True)


def failed(**changed: Any) -> dict[str, Any]:
    return {"phase": Phase.ENDED, "result": "failure", "cause": "exit", "end_time": now(), **changed}


def test_a_run_is_claimed_started_and_reaped_in_this_order() -> None:
    shed, steps = Shed(), list[str]()

    class Steps(InProcessMetadataRepository):
        @override
        async def dump(self, job: str, data: Any, /) -> None:
            steps.append("done")
            await super().dump(job, data)

    class Told(ShedTask):
        @override
        async def appeared(self, sighting: Sighting) -> None:
            steps.append("told of")
            shed.end(sighting.run)

        @override
        async def disappeared(self, job: str) -> None:
            steps.append("told of no more")

    task = Told(shed, Steps())

    async def note(verb: str) -> None:
        steps.append(verb)

    shed.before, shed.on_start = note, shed.begin
    simulate(lambda: run(task))
    assert [step for step in steps if step not in {"watch", "look"}] == [
        *("claim", "start", "told of", "open_output", "done", "told of no more", "release"),
    ]
    assert task.out.data == {"job": b"output 1"}


def test_only_the_last_attempt_leaves_outputs_and_a_record_which_tells_of_the_others() -> None:
    shed, task = shed_task(retries=Retries(2, delay=1, jitter=0))

    def fail_first(name: RunName) -> None:
        if name == FIRST:
            shed.end(name, "failure", "exit")
        else:
            shed.end(name)

    shed.on_start = fail_first
    simulate(lambda: run(task))
    assert task.out.data == {"job": b"output 2"}
    assert [run.attempt for run in shed.asked_for("open_output")] == [2]
    assert (record_of(task)["result"], record_of(task)["attempt"]) == ("success", 2)
    assert [one["cause"] for one in record_of(task)["attempts"]] == ["exit"]


def test_a_failed_attempt_waits_its_delay_and_nobody_is_told_of_a_live_run_meanwhile() -> None:
    shed, told = Shed(), list[tuple[float, bool]]()

    class Told(ShedTask):
        @override
        async def appeared(self, sighting: Sighting) -> None:
            told.append((round(time()), True))
            shed.end(sighting.run, "failure", "exit")

        @override
        async def disappeared(self, job: str) -> None:
            told.append((round(time()), False))

    task = Told(shed, InProcessMetadataRepository(), retries=Retries(1, delay=100, jitter=0))
    shed.on_start = shed.begin
    simulate(lambda: run(task))
    assert told == [(0, True), (0, False), (100, True), (100, False)]
    assert record_of(task)["result"] == "failure"


@pytest.mark.parametrize(("ago", "waits"), [(30, 70), (1000, 0)])
def test_the_delay_of_an_attempt_that_an_earlier_controller_saw_fail_counts_from_its_end(ago: int, waits: int) -> None:
    shed, task = shed_task(retries=Retries(1, delay=100, jitter=0))
    began: list[float] = []

    def note(name: RunName) -> None:
        assert name == SECOND
        began.append(time())
        shed.end(name)

    shed.on_start = note

    async def main() -> None:
        left_behind(shed, task, **failed(end_time=now() - timedelta(seconds=ago)))
        await run(task)

    simulate(main)
    assert began == [pytest.approx(waits, abs=1)]
    assert len(record_of(task)["attempts"]) == 1


def test_a_run_whose_record_is_written_is_released_and_nothing_of_it_is_stored_again() -> None:
    shed, task = shed_task(retries=Retries(1))
    assert isinstance(task.done, InProcessMetadataRepository)
    task.done.data["job"] = {"result": "success", "attempt": 1}

    async def main() -> None:
        left_behind(shed, task, **failed())
        await run(task)

    simulate(main)
    assert shed.runs == {}
    assert record_of(task) == {"result": "success", "attempt": 1}
    assert task.out.data == {}


def test_a_job_that_is_done_and_forced_is_recorded_anew() -> None:
    _, task = shed_task()
    assert isinstance(task.done, InProcessMetadataRepository)
    task.done.data["job"] = {"result": "failure", "attempt": 1}
    task.forced = True

    async def main() -> None:
        await task.live_jobs()
        await task.run("job")
        await task.released()

    simulate(main)
    assert record_of(task)["result"] == "success"


def test_outputs_that_were_stored_and_are_gone_from_the_site_stay_as_they_are() -> None:
    shed, task = shed_task()
    task.out.data["job"] = b"stored before"

    async def main() -> None:
        left_behind(shed, task, **failed())
        await run(task)

    simulate(main)
    assert task.out.data == {"job": b"stored before"}
    assert record_of(task)["result"] == "failure"


def test_a_run_that_left_no_output_has_an_empty_one() -> None:
    shed, task = shed_task()

    async def main() -> None:
        left_behind(shed, task, **failed())
        await run(task)

    simulate(main)
    assert task.out.data == {"job": b""}
    assert (record_of(task)["end_time"] - record_of(task)["start_time"]).total_seconds() == 3600


def test_a_claim_that_somebody_made_in_this_moment_is_followed() -> None:
    shed, task = shed_task()

    async def overtake(verb: str) -> None:
        if verb == "claim" and not shed.runs:
            left_behind(shed, task, phase=Phase.CLAIMED)

    shed.before = overtake
    simulate(lambda: run(task))
    assert record_of(task)["result"] == "success"
    assert len(shed.asked_for("claim")) == 1
    assert shed.asked_for("start") == [FIRST]


def test_a_site_that_has_something_of_that_name_and_shows_no_run_is_not_stormed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moments: list[float] = []

    class Occupied(Shed):
        @override
        async def claim(self, run: RunName, owner: str, spec: str) -> Sighting | None:
            moments.append(time())
            return None if len(moments) < 4 else await super().claim(run, owner, spec)

    task = ShedTask(Occupied(), InProcessMetadataRepository())
    simulate(lambda: run(task))
    assert [later - earlier for earlier, later in pairwise(moments)] == [pytest.approx(1, abs=0.1)] * 3
    assert "shed has something of its name that is no run" in caplog.text
    assert record_of(task)["result"] == "success"


def test_a_run_that_was_started_and_is_not_heard_of_is_started_again() -> None:
    shed, task = shed_task()
    starts: list[float] = []

    def be_lost_once(name: RunName) -> None:
        starts.append(time())
        if len(starts) > 1:
            shed.end(name)

    shed.on_start = be_lost_once
    simulate(lambda: run(task))
    assert starts == [pytest.approx(0, abs=1), pytest.approx(30, abs=1)]


def test_what_inhibits_a_start_by_now_takes_the_claim_back_unless_it_is_forced() -> None:
    shed, task = shed_task()
    inhibits = InProcessMetadataRepository()
    task.link("inhibits", inhibits, inhibits_start=True)

    async def inhibit(verb: str) -> None:
        if verb == "claim":
            inhibits.data["job"] = {}

    shed.before = inhibit

    async def main() -> object:
        await task.live_jobs()
        try:
            return await task.run("job")
        finally:
            await task.released()

    assert isinstance(simulate(main), Dropped)
    assert (shed.asked_for("start"), shed.runs) == ([], {})
    # A supervisor that is late must not begin what is being deleted.
    assert [verb for verb, _ in shed.asked if verb in {"cancel", "release"}] == ["cancel", "release"]
    task.forced = True
    simulate(main)
    assert record_of(task)["result"] == "success"


def test_a_run_that_is_dropped_leaves_nothing_and_one_that_is_cancelled_a_record() -> None:
    for how in ("dropped", "cancelled"):
        shed, task = shed_task(retries=Retries(3))
        shed.on_start = shed.begin

        async def main(shed: Shed = shed, task: ShedTask = task, how: Any = how) -> object:
            await task.live_jobs()
            following = asyncio.ensure_future(task.run("job"))
            await until(lambda: task.told)
            assert await task.end("job", how)
            try:
                return await following
            finally:
                await task.released()

        ended = simulate(main)
        assert (shed.runs, task.told) == ({}, {})
        assert isinstance(task.done, InProcessMetadataRepository)
        if how == "dropped":
            assert isinstance(ended, Dropped)
            assert task.done.data == task.out.data == {}
        else:
            assert record_of(task)["result"] == "cancelled"


def test_where_creating_starts_nothing_is_started_and_people_are_told_when_it_runs() -> None:
    shed, task = shed_task()
    shed.creating_starts = True
    inhibits = InProcessMetadataRepository({"job": {}})
    task.link("inhibits", inhibits, inhibits_start=True)

    async def main() -> None:
        await task.live_jobs()
        assert isinstance(await task.run("job"), Dropped)
        assert shed.asked_for("claim") == []
        inhibits.data.clear()
        following = asyncio.ensure_future(task.run("job"))
        await until(lambda: shed.runs)
        await asyncio.sleep(10)
        assert task.told == {}
        shed.begin(FIRST)
        await until(lambda: task.told)
        shed.end(FIRST)
        await following
        await task.released()

    simulate(main)
    assert shed.asked_for("start") == []
    assert record_of(task)["result"] == "success"


def test_a_run_that_was_dropped_is_followed_by_one_that_begins_anew() -> None:
    shed, task = shed_task()

    def drop_first(name: RunName) -> None:
        seen = evolve(shed.runs[name], phase=Phase.ENDED, result="cancelled", cause="cancelled", end_time=now())
        shed.put(evolve(seen, cancellation="dropped"))
        shed.on_start = shed.end

    shed.on_start = drop_first
    simulate(lambda: run(task))
    assert shed.asked_for("start") == [FIRST, FIRST]
    assert len(shed.asked_for("release")) == 2
    assert record_of(task)["result"] == "success"


def test_only_a_live_run_of_this_pipeline_is_ended() -> None:
    shed, task = shed_task()

    async def main() -> None:
        left_behind(shed, task, owner="another")
        assert not await task.end("job", "cancelled")
        left_behind(shed, task, **failed())
        assert not await task.end("job", "cancelled")

    simulate(main)
    assert shed.asked_for("cancel") == []


def test_of_several_attempts_the_last_is_ended() -> None:
    shed, task = shed_task()

    async def main() -> None:
        left_behind(shed, task, **failed())
        left_behind(shed, task, run=SECOND)
        assert await task.end("job", "cancelled")

    simulate(main)
    assert shed.asked_for("cancel") == [SECOND]


class Down(InProcessMetadataRepository):
    """A store of records that is out of reach."""

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        raise StoreUnavailableError("out of reach")


async def _stop_when(task: ShedTask, is_so: Callable[[], object]) -> float:
    """Run a pipeline, stop it when something is so, and give the seconds that its end took."""
    async with Pipeline([task], Session()) as pipeline:
        controller = pipeline.make_controller()
        running = asyncio.ensure_future(controller.run())
        await until(is_so)
        began = time()
        controller.stop()
        await running
        return time() - began


@pytest.mark.parametrize("verb", ["start", "open_output", "release"])
def test_a_controller_that_is_to_stop_leaves_a_run_whose_site_is_out_of_reach(verb: str) -> None:
    shed, task = shed_task()
    shed.errors[verb] = [SiteUnavailableError("out of reach")] * 99
    assert simulate(lambda: _stop_when(task, lambda: len(shed.asked_for(verb)) > 4)) < 1
    assert list(shed.runs) == [FIRST]


def test_a_controller_that_is_to_stop_leaves_a_run_whose_record_cannot_be_stored() -> None:
    shed = Shed()
    task = ShedTask(shed, Down())
    assert simulate(lambda: _stop_when(task, lambda: task.out.data)) < 1
    assert list(shed.runs) == [FIRST]


def test_a_controller_that_is_to_stop_leaves_live_runs_at_once() -> None:
    shed, task = shed_task()
    shed.on_start = shed.begin
    assert simulate(lambda: _stop_when(task, lambda: task.told)) < 1
    assert shed.runs[FIRST].phase is Phase.RUNNING
    assert task.told == {"job": 1}


def test_a_step_that_failed_is_tried_again_when_something_is_seen_of_the_run() -> None:
    shed, task = shed_task()
    shed.on_start = shed.begin
    fails = [StoreUnavailableError("out of reach")] * 6
    tried: list[float] = []

    class Told(ShedTask):
        @override
        async def appeared(self, sighting: Sighting) -> None:
            tried.append(time())
            if fails:
                raise fails.pop()
            await super().appeared(sighting)

    task = Told(shed, InProcessMetadataRepository())

    async def main() -> None:
        running = asyncio.ensure_future(run(task))
        await until(lambda: len(tried) == 6)
        since = time()
        shed.end(FIRST)
        await until(lambda: len(tried) == 7)
        assert time() - since < 1
        await running

    simulate(main)
    gaps = [later - earlier for earlier, later in pairwise(tried[:5])]
    assert gaps == [pytest.approx(gap, abs=0.1) for gap in (1, 2, 4, 8)]


def test_steps_are_tried_again_after_a_minute_at_most() -> None:
    shed, task = shed_task()
    shed.errors["release"] = [SiteUnavailableError("out of reach")] * 12
    moments: list[float] = []

    async def note(verb: str) -> None:
        if verb == "release":
            moments.append(time())

    shed.before = note
    simulate(lambda: run(task))
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert gaps[-1] == pytest.approx(60, abs=0.1)


def test_what_an_interrupted_controller_left_is_swept_once_before_runs_are_looked_for() -> None:
    swept: list[int] = []

    class Swept(Shed):
        @override
        async def sweep(self) -> None:
            swept.append(len(self.asked_for("claim")))

    task = ShedTask(Swept(), InProcessMetadataRepository())
    simulate(lambda: run(task))
    assert swept == [0]


def test_runs_of_another_pipeline_are_not_adopted() -> None:
    shed, task = shed_task()

    async def main() -> None:
        left_behind(shed, task, owner="another")
        assert list(await task.live_jobs()) == []
        assert (task.seen("job"), task.latest()) == (None, [])
        await task.released()
        assert (task.seen("job"), task.latest()) == (None, [])

    simulate(main)


def test_a_run_that_people_were_told_of_and_whose_claim_is_gone_is_found_out_about() -> None:
    shed, task = shed_task()

    class Remembering(ShedTask):
        @override
        async def remembered(self) -> list[Sighting]:
            seen = left_behind(shed, self)
            del shed.runs[FIRST]
            return [seen]

    task = Remembering(shed, InProcessMetadataRepository())
    simulate(lambda: run(task))
    assert shed.asked_for("vanished") == [FIRST]
    assert record_of(task)["result"] == "lost"
    assert shed.asked_for("start") == []


def test_a_run_that_people_were_told_of_and_that_is_at_its_site_is_not_looked_for() -> None:
    shed, _ = shed_task()

    class Remembering(ShedTask):
        @override
        async def remembered(self) -> list[Sighting]:
            return list(shed.runs.values())

    task = Remembering(shed, InProcessMetadataRepository())

    async def main() -> None:
        left_behind(shed, task)
        await task.live_jobs()
        seen = task.seen("job")
        assert seen is not None
        assert seen.phase is Phase.RUNNING
        await task.released()

    simulate(main)
    assert shed.asked_for("vanished") == []


def test_that_a_job_is_live_does_not_inhibit_its_own_start() -> None:
    shed, task = shed_task()
    task.link("live", InProcessMetadataRepository({"job": {}}), is_status=True, inhibits_start=True)

    async def main() -> None:
        left_behind(shed, task, phase=Phase.CLAIMED)
        await run(task)

    simulate(main)
    assert record_of(task)["result"] == "success"


def test_the_owner_of_a_run_is_where_its_records_go_unless_they_do_not_outlive_the_controller() -> None:
    shed = Shed()
    first, second = InProcessMetadataRepository(), InProcessMetadataRepository()
    assert first.location != second.location
    assert ShedTask(shed, first).owner == ShedTask(shed, second).owner == ShedTask(shed, None).owner
    lasting = [YamlMetadataBlobRepository(InProcessBlobRepository()) for _ in range(2)]
    owners = {ShedTask(shed, done).owner for done in (*lasting, first)}
    assert len(owners) == 3


def test_a_job_is_followed_while_its_run_is() -> None:
    shed, task = shed_task()
    shed.on_start = shed.begin

    async def main() -> None:
        await task.live_jobs()
        following = asyncio.ensure_future(task.run("job"))
        await until(lambda: task.told)
        assert task.followed == {"job"}
        shed.end(FIRST)
        await following
        assert task.followed == set()
        await task.released()

    simulate(main)


def test_a_task_that_has_not_seen_its_site_runs_nothing() -> None:
    shed, task = shed_task()

    async def main() -> None:
        with pytest.raises(SiteUnavailableError, match="has not seen its site shed"):
            await task.run("job")

    simulate(main)
    assert shed.asked == []


def test_why_a_run_does_not_begin_is_told_in_the_words_of_its_site() -> None:
    shed, task = shed_task()

    async def main() -> None:
        left_behind(shed, task, phase=Phase.CLAIMED, reason="the moon is full")
        await task.live_jobs()
        assert (task.waits_for("job"), task.attempt_of("job")) == ("the moon is full", 1)
        shed.put(evolve(shed.runs[FIRST], phase=Phase.RUNNING))
        seen = task.seen("job")
        assert seen is not None
        await until(lambda: task.waits_for("job") is None)
        await task.released()
        assert (task.waits_for("job"), task.attempt_of("job")) == (None, None)

    simulate(main)
