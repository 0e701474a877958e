"""What the controller wrote itself it does not ask for."""

from __future__ import annotations

from typing import Any

import pytest
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.inquiry import Questions
from pydatatask_core.pipeline.readiness import Question
from typing_extensions import override


class Done(InProcessMetadataRepository):
    """Counts who reads, and refuses one record."""

    def __init__(self, refused: str = "") -> None:
        super().__init__()
        self.read: list[str] = []
        self.refused = refused

    @override
    async def info(self, job: str, /) -> Any:
        self.read.append(job)
        return await super().info(job)

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        if job == self.refused:
            raise PermissionError
        await super().dump(job, data)


async def fails_on_b(job: str) -> None:
    if job == "b":
        raise ValueError


async def run(first: Done, second: Done) -> Controller:
    one = InProcessSyncTask("one", first, func=fails_on_b)
    one.link("source", InProcessMetadataRepository(dict.fromkeys("abc")), is_input=True)
    two = InProcessSyncTask("two", second, func=fails_on_b)
    two.plug(one)
    async with Pipeline([one, two], Session()) as pipeline:
        controller = await pipeline.run()
    assert one.expect is two.expect is None
    return controller


async def test_nothing_is_asked_to_learn_whether_a_run_of_this_controller_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Question] = []
    monkeypatch.setattr(Questions, "append", lambda questions, question: asked.append(question))
    first, second = Done(), Done()
    await run(first, second)
    assert asked == []
    assert set(first.data) == {"a", "b", "c"}
    assert set(second.data) == {"a", "c"}
    assert first.read == []


async def test_a_record_that_could_not_be_published_is_not_expected_any_more() -> None:
    first = Done(refused="a")
    controller = await run(first, Done())
    assert [leaf.expected for leaf in controller.readiness.leaves] == [{}] * len(controller.readiness.leaves)
    assert set(first.data) == {"b", "c"}
