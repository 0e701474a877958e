"""What a repository promises that can decide who was first."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest

from ..errors import JobIdError, MalformedValueError
from ..repository.changes import Added, KeyEvent
from ..repository.protocols import CreatingRepository
from .metadata import MetadataRepositoryTests
from .values import same

__all__ = ["CreatingRepositoryTests"]

C = TypeVar("C", bound=CreatingRepository)


class CreatingRepositoryTests(MetadataRepositoryTests[C]):
    """The promises of :class:`CreatingRepository`."""

    async def test_create_publishes_a_value_where_there_is_none(self, repo: C) -> None:
        assert await repo.create("job", {"first": 1})
        assert same(await repo.info("job"), {"first": 1})

    async def test_create_leaves_a_value_that_is_there(self, repo: C) -> None:
        await repo.dump("job", {"first": 1})
        assert not await repo.create("job", {"second": 2})
        assert same(await repo.info("job"), {"first": 1})

    async def test_create_succeeds_again_after_delete(self, repo: C) -> None:
        assert await repo.create("job", 1)
        await repo.delete("job")
        assert await repo.create("job", 2)
        assert await repo.info("job") == 2

    async def test_of_many_that_create_one_job_exactly_one_succeeds_and_its_value_stands(self, repo: C) -> None:
        for number in range(3):
            job = f"job{number}"
            won = await asyncio.gather(*(repo.create(job, {"by": by}) for by in range(10)))
            assert won.count(True) == 1
            assert same(await repo.info(job), {"by": won.index(True)})

    async def test_only_a_create_that_succeeded_is_announced(self, repo: C) -> None:
        told: list[KeyEvent] = []
        with repo.changes.listening(told.append):
            await repo.create("job", 1)
            await repo.create("job", 2)
        assert told == [Added("job")]

    async def test_create_refuses_what_cannot_be_stored_and_stores_nothing(self, repo: C) -> None:
        with pytest.raises(MalformedValueError):
            await repo.create("job", object())
        with pytest.raises(JobIdError):
            await repo.create("no job", 1)
        assert not await repo.contains("job")
