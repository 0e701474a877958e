"""A site that refuses us is a mistake to be told at once, and an outage once runs are live."""

from __future__ import annotations

import pytest
from pydatatask_core import InProcessMetadataRepository, Pipeline, Session
from pydatatask_core.clock import elapsed
from pydatatask_core.errors import (
    SiteCredentialsError,
    SiteUnavailableError,
    StoreCredentialsError,
    StoreUnavailableError,
)
from pydatatask_core.pipeline.events import Event, StoreUnreachable
from pydatatask_core.runs.live import LiveRunRepository
from pydatatask_core.runs.site import RunName
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask


def shed_task(name: str = "task") -> tuple[Shed, ShedTask]:
    shed = Shed()
    return shed, ShedTask(shed, InProcessMetadataRepository(), name=name)


async def run(*tasks: ShedTask) -> list[Event]:
    events: list[Event] = []
    async with Pipeline(tasks, Session()) as pipeline:
        await pipeline.run(observers=[events.append])
    return events


def test_a_site_that_refuses_us_is_told_when_its_runs_are_looked_for_and_nothing_starts() -> None:
    refusing, first = shed_task("first")
    other, second = shed_task("second")
    refusing.errors["watch"] = [SiteCredentialsError("No.")] * 9

    async def main() -> None:
        before = elapsed()
        with pytest.raises(SiteCredentialsError, match="No"):
            await run(first, second)
        assert elapsed() - before < 1, "it was tried again"

    simulate(main)
    assert len(refusing.asked) == 1
    assert other.asked_for("claim") == []


def test_tasks_of_one_site_tell_its_refusal_once_and_several_sites_tell_theirs_together() -> None:
    shed, first = shed_task("first")
    second = ShedTask(shed, InProcessMetadataRepository(), name="second")
    other, third = shed_task("third")
    shed.errors["watch"] = [SiteCredentialsError("No.")]

    async def of_one_site() -> None:
        with pytest.raises(SiteCredentialsError, match="No"):
            await run(first, second)

    simulate(of_one_site)
    shed.errors["watch"], other.errors["watch"] = [SiteCredentialsError("No.")], [SiteCredentialsError("Never.")]

    async def of_several() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await run(first, second, third)
        assert [str(error) for error in caught.value.exceptions] == ["Never.", "No."]

    simulate(of_several)


def test_a_site_that_does_not_answer_and_then_refuses_us_is_asked_again() -> None:
    shed, task = shed_task()
    shed.errors["watch"] = [SiteUnavailableError("Nobody is there."), SiteCredentialsError("No.")]

    async def main() -> list[Event]:
        return await run(task)

    told = [str(event.error) for event in simulate(main) if isinstance(event, StoreUnreachable)]
    assert told == ["Nobody is there.", "No."]
    assert len(shed.asked_for("start")) == 1


@pytest.mark.parametrize("verb", ["start", "open_output", "release"])
def test_a_run_that_is_live_outlasts_a_site_that_refuses_us(verb: str) -> None:
    shed, task = shed_task()
    shed.errors[verb] = [SiteCredentialsError("No.")] * 3

    async def main() -> None:
        await run(task)

    simulate(main)
    assert task.out.data == {"job": b"output 1"}
    assert len(shed.asked_for("claim")) == 1
    assert shed.runs == {}


def test_a_watch_that_ends_because_we_are_refused_is_begun_again() -> None:
    shed, task = shed_task()

    def refuse(name: RunName) -> None:
        shed.tell(SiteCredentialsError("No."))
        shed.errors["watch"] = [SiteCredentialsError("No.")] * 3
        shed.end(name)

    shed.on_start = refuse

    async def main() -> None:
        await run(task)

    simulate(main)
    assert task.out.data == {"job": b"output 1"}
    assert len(shed.asked_for("watch")) == 5


@pytest.mark.parametrize(
    ("error", "seen"),
    [(SiteCredentialsError("No."), StoreCredentialsError), (SiteUnavailableError("Nobody."), StoreUnavailableError)],
)
def test_the_live_runs_of_a_site_are_a_store_that_fails_as_the_site_does(
    error: Exception, seen: type[Exception]
) -> None:
    shed, task = shed_task()
    shed.errors["look"] = [error]

    async def main() -> None:
        with pytest.raises(StoreUnavailableError) as caught:
            await LiveRunRepository(task, frozenset()).contains("job")
        assert type(caught.value) is seen

    simulate(main)
