"""What is known of the runs at a site: complete when it is opened, and kept up to date however the watch fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.observation import REMEMBERED, Observation, observation_of
from pydatatask_core.runs.site import Gone, Phase, RunName, Sighting, Snapshot
from pydatatask_core.testing import simulate
from shed import Shed

FIRST, SECOND = RunName("task", "job", 1), RunName("task", "job", 2)


def sighting(run: RunName = FIRST, phase: Phase = Phase.RUNNING, claim: str = "claim", **more: Any) -> Sighting:
    return Sighting(run=run, owner="owner", claim=claim, phase=phase, **more)


ENDED = sighting(phase=Phase.ENDED, result="success")


@asynccontextmanager
async def opened(shed: Shed) -> AsyncIterator[Observation]:
    observation = observation_of(shed)
    await observation.open()
    try:
        yield observation
    finally:
        await observation.close()


async def until(found: Callable[[], object]) -> None:
    async with asyncio.timeout(1000):
        while not found():
            await asyncio.sleep(0.01)


def watching(test: Callable[[Shed, Observation], Coroutine[Any, Any, None]], *there: Sighting) -> Shed:
    """Do a test in simulated time, while a site is watched at which some runs are."""
    shed = Shed()
    for seen in there:
        shed.put(seen, silently=True)

    async def main() -> None:
        async with opened(shed) as observation:
            await test(shed, observation)

    simulate(main)
    return shed


def test_all_runs_are_known_when_it_is_open() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        assert observation.is_complete
        assert observation.jobs("task") == ["job"]
        assert observation.jobs("other") == []
        assert [seen.run for seen in observation.attempts("task", "job")] == [FIRST, SECOND]
        latest = observation.latest("task", "job")
        assert latest is not None
        assert latest.run == SECOND

    watching(test, sighting(SECOND), sighting(FIRST, Phase.ENDED, result="failure"))


def test_how_a_run_ended_that_says_nothing_is_found_out_before_it_is_open() -> None:
    shed = Shed()
    shed.put(sighting(phase=Phase.ENDED), silently=True)

    async def be_slow(verb: str) -> None:
        if verb == "finish":
            await asyncio.sleep(5)

    async def main() -> None:
        shed.before = be_slow
        async with opened(shed) as observation:
            latest = observation.latest("task", "job")
            assert latest is not None
            assert (latest.phase, latest.result) == (Phase.ENDED, "lost")

    simulate(main)
    assert shed.asked_for("finish") == [FIRST]


def test_what_cannot_be_found_out_is_told_and_asked_again_by_the_next_list(caplog: pytest.LogCaptureFixture) -> None:
    shed = Shed()
    shed.errors["finish"] = [SiteUnavailableError("out of reach")]
    shed.put(sighting(phase=Phase.ENDED), silently=True)

    async def main() -> None:
        async with opened(shed) as observation:
            assert observation.latest("task", "job") is None
            shed.tell(SiteUnavailableError("out of reach"))
            await until(lambda: observation.latest("task", "job") is not None)

    simulate(main)
    assert len(shed.asked_for("finish")) == 2
    assert "on shed is not known yet: out of reach" in caplog.text


def test_what_cannot_be_found_out_is_asked_again_though_nothing_more_is_told_of_it() -> None:
    shed = Shed()
    shed.errors["finish"] = [SiteUnavailableError("out of reach") for _ in range(9)]
    shed.put(sighting(phase=Phase.ENDED), silently=True)

    async def main() -> None:
        begun = asyncio.get_running_loop().time()
        async with opened(shed) as observation:
            assert asyncio.get_running_loop().time() < begun + 1, "it is not open before all is known"
            await until(lambda: observation.latest("task", "job") is not None)
        assert asyncio.get_running_loop().time() == pytest.approx(begun + 1 + 2 + 4 + 8 + 16 + 32 + 3 * 60, abs=1)

    simulate(main)
    assert len(shed.asked_for("finish")) == 10


def test_a_run_that_vanished_while_its_site_did_not_answer_is_asked_for_until_it_does() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        shed.errors["vanished"] = [SiteUnavailableError("out of reach") for _ in range(3)]
        shed.tell(Gone(FIRST))
        await until(lambda: observation.attempts("task", "job")[0].result == "lost")

    assert watching(test, sighting()).asked_for("vanished") == [FIRST] * 4


def test_a_run_of_which_the_site_has_told_meanwhile_is_not_asked_for_again() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        shed.errors["vanished"] = [SiteUnavailableError("out of reach")]
        shed.tell(Gone(FIRST))
        await until(lambda: shed.asked_for("vanished"))
        shed.tell(ENDED)
        await asyncio.sleep(100)

    assert watching(test, sighting()).asked_for("vanished") == [FIRST]


def test_a_run_does_not_come_back_to_life() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        observation.see(sighting())
        assert observation.latest("task", "job") == ENDED
        # A site may have to take it away first.
        observation.see(sighting(phase=Phase.LEAVING))
        latest = observation.latest("task", "job")
        assert latest is not None
        assert latest.phase is Phase.LEAVING

    watching(test, ENDED)


def test_what_is_told_of_a_released_claim_is_forgotten_and_of_the_next_is_not() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        observation.forget("task", "job")
        observation.see(ENDED)
        assert observation.latest("task", "job") is None
        observation.see(sighting(claim="next"))
        assert observation.latest("task", "job") == sighting(claim="next")

    watching(test, ENDED)


def test_released_claims_are_remembered_in_bounded_memory() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        for number in range(REMEMBERED + 1):
            run = RunName("task", f"job{number}", 1)
            observation.see(sighting(run, claim=str(number)))
            observation.forget("task", run.job)
        observation.see(sighting(RunName("task", "new", 1), claim="1"))
        assert observation.jobs("task") == []
        observation.see(sighting(RunName("task", "new", 1), claim="0"))
        assert observation.jobs("task") == ["new"]

    watching(test)


@pytest.mark.parametrize("event", [Gone(FIRST), Snapshot([])])
def test_a_live_run_that_is_not_at_its_site_is_looked_for_there(event: Gone | Snapshot) -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        shed.tell(event)
        await until(lambda: shed.asked_for("vanished"))
        latest = observation.latest("task", "job")
        assert latest is not None
        assert latest.result == "lost"

    assert watching(test, sighting()).asked_for("vanished") == [FIRST]


@pytest.mark.parametrize("event", [Gone(FIRST), Snapshot([])])
def test_a_run_that_ended_is_looked_for_no_more(event: Gone | Snapshot) -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        shed.tell(event)
        shed.tell(sighting(RunName("task", "after", 1), claim="after"))
        await until(lambda: "after" in observation.jobs("task"))
        assert observation.latest("task", "job") == ENDED

    assert watching(test, ENDED).asked_for("vanished") == []


def test_a_run_that_is_in_the_list_is_not_looked_for() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        shed.tell(Snapshot([sighting(), sighting(RunName("task", "after", 1), claim="after")]))
        await until(lambda: "after" in observation.jobs("task"))

    assert watching(test, sighting()).asked_for("vanished") == []


def test_a_watch_that_fails_is_begun_again_in_growing_intervals_and_shows_why() -> None:
    moments: list[float] = []
    time = asyncio.get_running_loop

    async def note(verb: str) -> None:
        if verb == "watch":
            moments.append(time().time())

    async def test(shed: Shed, observation: Observation) -> None:
        error = SiteUnavailableError("out of reach")
        shed.before, shed.errors["watch"] = note, [error] * 8
        shed.tell(error)
        await until(lambda: len(moments) == 3)
        assert observation.obstacle is error
        await until(lambda: len(moments) == 9)
        await until(lambda: observation.obstacle is None)
        # One that told something begins anew.
        moments.clear()
        shed.tell(error)
        began = time().time()
        await until(lambda: moments)
        assert moments[0] - began == pytest.approx(0.5, abs=0.1)

    checked: list[float] = []

    async def gaps(shed: Shed, observation: Observation) -> None:
        shed.before, shed.errors["watch"] = note, [SiteUnavailableError("out of reach")] * 8
        moments.clear()
        shed.tell(SiteUnavailableError("out of reach"))
        await until(lambda: len(moments) == 9)
        checked.extend(later - earlier for earlier, later in pairwise(moments))

    watching(test)
    watching(gaps)
    assert checked == [pytest.approx(gap, abs=0.1) for gap in (1, 2, 4, 8, 16, 30, 30, 30)]


def test_a_site_that_cannot_be_watched_at_first_is_not_watched_and_may_be_opened_again() -> None:
    shed = Shed()
    shed.errors["watch"] = [SiteUnavailableError("out of reach")]

    async def main() -> None:
        observation = observation_of(shed)
        told = await asyncio.gather(observation.open(), observation.open(), return_exceptions=True)
        assert [type(error) for error in told] == [SiteUnavailableError] * 2
        complete = [observation.is_complete]
        await asyncio.sleep(1000)
        assert len(shed.asked_for("watch")) == 1
        async with opened(shed):
            complete.append(observation.is_complete)
        complete.append(observation.is_complete)
        assert complete == [False, True, False]

    simulate(main)


def test_there_is_one_watch_however_many_use_it_and_it_ends_with_the_last() -> None:
    shed = Shed()

    async def main() -> None:
        async with opened(shed) as first:
            async with opened(shed) as second:
                assert first is second
            shed.put(sighting())
            await until(lambda: first.jobs("task"))
            waiting = asyncio.ensure_future(first.change("task", "job", first.latest("task", "job")))
            await asyncio.sleep(1)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 1)
        assert first.jobs("task") == []

    simulate(main)
    assert len(shed.asked_for("watch")) == 1


def test_a_change_that_was_before_the_wait_ends_it() -> None:
    async def test(shed: Shed, observation: Observation) -> None:
        before = observation.latest("task", "job")
        observation.see(ENDED)
        await asyncio.wait_for(observation.change("task", "job", before), 1)

    watching(test, sighting())


def test_who_waits_is_woken_by_a_change_alone_or_when_time_is_up() -> None:
    time = asyncio.get_running_loop

    async def test(shed: Shed, observation: Observation) -> None:
        seen = observation.latest("task", "job")
        waiting = asyncio.ensure_future(observation.change("task", "job", seen))
        # Neither another job's change nor the same seen again is one.
        observation.see(sighting(RunName("task", "other", 1), claim="other"))
        observation.see(evolve(sighting()))
        await asyncio.sleep(1)
        assert not waiting.done()
        observation.see(ENDED)
        await asyncio.wait_for(waiting, 1)
        since = time().time()
        await observation.change("task", "job", observation.latest("task", "job"), 7)
        assert time().time() - since == pytest.approx(7, abs=0.1)

    watching(test, sighting())


def test_listeners_hear_of_each_change() -> None:
    heard: list[tuple[str, str]] = []

    async def test(shed: Shed, observation: Observation) -> None:
        observation.listeners.add(lambda task, job: heard.append((task, job)))
        observation.see(ENDED)
        observation.see(ENDED)
        observation.forget("task", "job")

    watching(test, sighting())
    assert heard == [("task", "job")] * 2
