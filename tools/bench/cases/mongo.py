"""Storing and listing in MongoDB, against the driver's own calls in turns on the same server."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from attrs import define
from pydatatask_repos_mongodb import MongoMetadataRepository
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from ..harness import Case, Figures

__all__ = ["CASE"]

VARIABLE = "PYDATATASK_TEST_MONGO_URL"
DUMPS = 10_000
TURN = 500
"""Dumps between turns of ours and the bare loop: what a server does by the way must not meet one of them alone."""
KEYS = 100_000
LISTINGS = 5

Jobs = AsyncCollection[dict[str, Any]]


@define
class Clock:
    """Time that something took, in all its turns."""

    wall: float = 0.0
    cpu: float = 0.0

    async def time(self, work: Awaitable[object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu

    def against(self, bare: Clock, name: str) -> dict[str, float | int | str]:
        return {
            f"{name}_seconds": round(self.wall, 3),
            f"{name}_times_bare": round(self.wall / bare.wall, 3),
            f"{name}_cpu_seconds": round(self.cpu, 3),
            f"{name}_cpu_times_bare": round(self.cpu / bare.cpu, 3),
        }


@asynccontextmanager
async def collection(url: str, name: str) -> AsyncIterator[Jobs]:
    """A collection of a database of our own, which is dropped."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        database = client[f"pydatatask-bench-{os.getpid()}"]
        try:
            yield database[name]
        finally:
            # Some servers drop a collection document by document, much slower than they delete.
            await database[name].delete_many({})
            await client.drop_database(database.name)


def record(number: int) -> dict[str, Any]:
    return {"result": "success", "attempt": 1, "host": "bench", "number": number, "paths": ["a", "b", "c"]}


async def dumps(jobs: Jobs) -> dict[str, float | int | str]:
    repo = MongoMetadataRepository(lambda: jobs)

    async def ours(numbers: range) -> None:
        for number in numbers:
            await repo.dump(f"ours{number}", record(number))

    async def bare(numbers: range) -> None:
        for number in numbers:
            await jobs.replace_one({"_id": f"bare{number}"}, record(number), upsert=True)

    clocks = {ours: Clock(), bare: Clock()}
    for start in range(0, DUMPS, TURN):
        for work, clock in clocks.items():
            await clock.time(work(range(start, start + TURN)))
    return clocks[ours].against(clocks[bare], "dumps")


async def listings(jobs: Jobs) -> dict[str, float | int | str]:
    for start in range(0, KEYS, 5000):
        await jobs.insert_many([{"_id": f"job{number:06}", **record(number)} for number in range(start, start + 5000)])
    repo = MongoMetadataRepository(lambda: jobs)

    async def ours() -> None:
        assert len([job async for page in repo.pages() for job in page]) == KEYS

    async def bare() -> None:
        assert len([document["_id"] async for document in jobs.find({}, {"_id": 1})]) == KEYS

    works: tuple[Callable[[], Awaitable[None]], ...] = (ours, bare)
    clocks = {work: Clock() for work in works}
    for _ in range(LISTINGS):
        for work, clock in clocks.items():
            await clock.time(work())
    return clocks[ours].against(clocks[bare], "listings")


async def measure() -> Figures:
    url = os.environ.get(VARIABLE)
    if not url:
        return {"skipped": f"{VARIABLE} is not set. Set it to the URL of a MongoDB server."}
    async with collection(url, "dumps") as jobs:
        stored = await dumps(jobs)
    async with collection(url, "keys") as jobs:
        listed = await listings(jobs)
    return {"dumps": DUMPS, **stored, "keys": KEYS, "listings": LISTINGS, **listed}


CASE = Case("mongo", "10,000 dumps and a listing of 100,000 keys take at most 1.3 times as long as by hand", measure)
