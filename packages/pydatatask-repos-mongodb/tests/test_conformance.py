"""The MongoDB repository keeps every promise that all repositories make, over both drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from bson import ObjectId
from mongo import Driver, RawCollection, collection
from pydatatask_core.testing import CreatingRepositoryTests
from pydatatask_repos_mongodb import MongoMetadataRepository
from pydatatask_repos_mongodb.api import Collection
from pymongo import AsyncMongoClient
from typing_extensions import override

# Making a client for each of so many tests would take longer than the tests.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(url: str) -> AsyncIterator[AsyncMongoClient[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        yield client


class MongoTests(CreatingRepositoryTests[MongoMetadataRepository]):
    """The back door: documents by a client of its own."""

    absent_info = "empty"
    crosses_loops = False
    watches = True
    broken = {"id": ObjectId()}  # noqa: RUF012  # a constant of the suite
    driver: ClassVar[Driver]
    live: Collection
    raw: RawCollection

    @pytest_asyncio.fixture(loop_scope="module")
    async def repo(
        self, clients: AsyncMongoClient[dict[str, Any]], url: str, name: str
    ) -> AsyncIterator[MongoMetadataRepository]:
        database, _, jobs = name.partition("/")
        self.raw = clients[database][jobs]
        async with collection(self.driver, url, name) as self.live:
            repo = MongoMetadataRepository(self.connect)
            await repo.validate()
            yield repo
        # Some servers drop a collection document by document.
        await self.raw.delete_many({})

    def connect(self) -> Collection:
        return self.live

    @override
    async def twin(self, repo: MongoMetadataRepository) -> MongoMetadataRepository:
        return MongoMetadataRepository(self.connect)

    @override
    async def peek(self, repo: MongoMetadataRepository, job: str) -> Any:
        found = await self.raw.find_one({"_id": job})
        return None if found is None else {key: value for key, value in found.items() if key != "_id"}

    @override
    async def poke(self, repo: MongoMetadataRepository, job: str, value: Any) -> None:
        await self.raw.replace_one({"_id": job}, value, upsert=True)

    @override
    async def poke_raw(self, repo: MongoMetadataRepository, key: str, raw: Any) -> None:
        await self.poke(repo, key, raw if isinstance(raw, Mapping) else {"raw": raw})

    @override
    async def pluck(self, repo: MongoMetadataRepository, job: str) -> None:
        await self.raw.delete_one({"_id": job})

    @override
    async def fill(self, repo: MongoMetadataRepository, jobs: Iterable[str]) -> set[str]:
        todo = set(jobs)
        await self.raw.delete_many({"_id": {"$in": list(todo)}})
        await self.raw.insert_many([{"_id": job, **self.values[0]} for job in todo])
        return todo


class TestPyMongo(MongoTests):
    driver = "pymongo"


class TestMotor(MongoTests):
    driver = "motor"
    examples = 20
