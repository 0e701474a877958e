"""Storing and listing in MongoDB, against the driver's own calls in turns on the same server."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from attrs import define, field
from pydatatask_repos_mongodb import MongoMetadataRepository
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from ..harness import Case, Figures

__all__ = ["CASE"]

VARIABLE = "PYDATATASK_TEST_MONGO_URL"
DUMPS = 10_000
TURN = 500
"""Dumps between turns of ours and the bare loop: what a server does by the way must not meet one of them alone."""
BARE_TURN = 100
"""Dumps of the bare loop in its turn. A server that syncs each of them to a shared disk stores a few dozen a second,
so the bare loop does no more than it takes to know what one costs."""
AT_ONCE = 15
"""Dumps that are under way at a time, as many as a task has runs."""
KEYS = 100_000
SEED = 5000
"""Documents that are inserted at once."""
LISTINGS = 5
"""Turns, each of one listing of ours and one of the bare loop."""

Jobs = AsyncCollection[dict[str, Any]]


@define
class Clock:
    """Time that one piece of something took, in each of its turns."""

    wall: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)

    async def time(self, pieces: int, work: Awaitable[object]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work
        self.wall.append((time.perf_counter() - wall) / pieces)
        self.cpu.append((time.process_time() - cpu) / pieces)

    def against(self, bare: Clock, name: str) -> dict[str, float | int | str]:
        """Give what a piece took, the median of all turns, and how many times as much that is as the bare loop's."""
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        return {
            f"{name}_microseconds": round(wall * 1e6, 1),
            f"{name}_times_bare": round(wall / statistics.median(bare.wall), 3),
            f"{name}_cpu_microseconds": round(cpu * 1e6, 1),
            f"{name}_cpu_times_bare": round(cpu / statistics.median(bare.cpu), 3),
        }


@contextmanager
def told(what: str) -> Iterator[None]:
    """Narrate how long a part took: where the time of a run goes depends on the server."""
    began = time.perf_counter()
    yield
    sys.stderr.write(f"  {what}: {time.perf_counter() - began:.1f} s\n")


@asynccontextmanager
async def collection(url: str, name: str) -> AsyncIterator[Jobs]:
    """A collection of a database of our own, which is dropped."""
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        database = client[f"pydatatask-bench-{os.getpid()}"]
        try:
            yield database[name]
        finally:
            with told(f"drop {name}"):
                # Some servers drop a collection document by document, much slower than they delete.
                await database[name].delete_many({})
                await client.drop_database(database.name)


def record(number: int) -> dict[str, Any]:
    return {"result": "success", "attempt": 1, "host": "bench", "number": number, "paths": ["a", "b", "c"]}


async def dumps(jobs: Jobs) -> dict[str, float | int | str]:
    repo = MongoMetadataRepository(lambda: jobs)

    async def ours(number: int) -> None:
        await repo.dump(f"ours{number}", record(number))

    async def bare(number: int) -> None:
        await jobs.replace_one({"_id": f"bare{number}"}, record(number), upsert=True)

    clocks = {ours: Clock(), bare: Clock()}
    with told(f"{DUMPS} dumps"):
        for start in range(0, DUMPS, TURN):
            for work, turn in ((ours, TURN), (bare, BARE_TURN)):
                await clocks[work].time(turn, at_once(work, range(start, start + turn)))
    return clocks[ours].against(clocks[bare], "dumps")


async def at_once(work: Callable[[int], Awaitable[None]], numbers: range) -> None:
    todo = iter(numbers)

    async def worker() -> None:
        for number in todo:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def listings(jobs: Jobs) -> dict[str, float | int | str]:
    with told("seed"):
        for start in range(0, KEYS, SEED):
            numbers = range(start, start + SEED)
            await jobs.insert_many([{"_id": f"job{number:06}", **record(number)} for number in numbers], ordered=False)
    repo = MongoMetadataRepository(lambda: jobs)

    async def ours() -> None:
        assert len([job async for page in repo.pages() for job in page]) == KEYS

    async def bare() -> None:
        assert len([document["_id"] async for document in jobs.find({}, {"_id": 1})]) == KEYS

    works: tuple[Callable[[], Awaitable[None]], ...] = (ours, bare)
    clocks = {work: Clock() for work in works}
    for turn in range(LISTINGS):
        for work, clock in clocks.items():
            with told(f"listing {turn + 1}/{LISTINGS}, {work.__name__}"):
                await clock.time(KEYS, work())
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
