"""A retry that was planned by one controller is kept to by the next one, where failed attempts are stored."""

from __future__ import annotations

import asyncio

import pytest
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Retries, Session
from pydatatask_core.testing import simulate

Attempts = InProcessMetadataRepository | None


def starts_of_two_controllers(
    attempts: Attempts, second_at: float, launch_once: bool = False
) -> tuple[list[float], dict[str, object]]:
    """Fail twice, with 100 s before the first retry and 200 s before the second; change the controller at a moment.

    Gives the seconds at which attempts began, and the records.
    """
    began: list[float] = []
    done = InProcessMetadataRepository()

    async def fails_twice(job: str) -> None:
        began.append(asyncio.get_running_loop().time())
        if len(began) < 3:
            raise ValueError(job)

    async def run(limit: float | None, launch_once: bool) -> None:
        task = InProcessSyncTask(
            "task", done, func=fails_twice, retries=Retries(5, delay=100, jitter=0), attempts=attempts
        )
        task.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run(timeout=limit, launch_once=launch_once)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await run(second_at, False)
        await run(None, launch_once)

    simulate(main)
    return began, done.data


@pytest.mark.parametrize("launch_once", [False, True])
def test_a_planned_retry_is_kept_to_by_the_next_controller(launch_once: bool) -> None:
    attempts = InProcessMetadataRepository()
    began, done = starts_of_two_controllers(attempts, 30, launch_once=launch_once)
    assert began == pytest.approx([0, 100, 300], abs=0.1)
    record = done["a"]
    assert isinstance(record, dict)
    assert record["attempt"] == 3
    # When a retry was due is of no interest any more once it was made.
    assert [sorted(earlier) for earlier in record["attempts"]] == [
        ["attempt", "cause", "end_time", "exception", "host", "result", "start_time", "traceback"]
    ] * 2
    assert attempts.data == {}


def test_without_stored_attempts_the_next_controller_starts_at_once() -> None:
    began, done = starts_of_two_controllers(None, 30)
    assert began == pytest.approx([0, 30, 130], abs=0.1)
    record = done["a"]
    assert isinstance(record, dict)
    assert record["attempt"] == 2


def test_attempts_of_an_earlier_release_do_not_keep_a_job_from_starting() -> None:
    attempts = InProcessMetadataRepository(
        {"a": [{"result": "failure", "cause": "exception", "attempt": 1}], "b": "odd"}
    )

    async def nothing(job: str) -> None:
        pass

    done = InProcessMetadataRepository()

    async def main() -> None:
        task = InProcessSyncTask("task", done, func=nothing, attempts=attempts)
        task.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
        async with Pipeline([task], Session()) as pipeline:
            await pipeline.run()

    simulate(main)
    assert done.data["a"]["attempt"] == 2
