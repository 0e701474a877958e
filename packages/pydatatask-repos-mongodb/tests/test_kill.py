"""A server that is killed under load and started again: what it acknowledged is there, and everything goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from attrs import define, field
from mongo import Driver, collection, database
from mongo_server import Server, own_server
from pydatatask_core import InProcessSyncTask, Pipeline
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import Added, Resync
from pydatatask_core.session import Session
from pydatatask_core.task.policy import Retries
from pydatatask_repos_mongodb import MongoMetadataRepository
from pydatatask_repos_mongodb.api import Database
from pymongo import MongoClient

pytestmark = pytest.mark.slow

WORKERS = 8
BRIEF, PATIENT = 3_000, 60_000
"""Milliseconds that a client waits for a server: less than a restart takes, and more."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with own_server(tmp_path_factory.mktemp("own")) as server:
        yield server


@define
class Load:
    """What is asked of the server, and what it has said."""

    repo: MongoMetadataRepository
    acknowledged: dict[str, Any] = field(factory=dict)
    refused: set[int] = field(factory=set)
    """The workers that met a refusal since this was last emptied."""
    listings: int = 0
    reopened: int = 0
    """How often the watch ended and was begun again."""
    known: set[str] = field(factory=set)
    """The jobs that the watch told of, and the listings that belong to it."""
    over: bool = False
    moved: asyncio.Event = field(factory=asyncio.Event)
    """Set, for the time of one turn, whenever something changed here."""

    def tell(self) -> None:
        self.moved.set()
        self.moved.clear()

    async def until(self, stored: int, refused: int = 0) -> None:
        """Wait until so many jobs are acknowledged, and so many workers refused."""
        while len(self.acknowledged) < stored or len(self.refused) < refused:
            await self.moved.wait()

    async def dump(self, job: str, value: Any, worker: int) -> None:
        """Store a value; a refusal is met by storing it again."""
        while True:
            try:
                await self.repo.dump(job, value)
            except StoreUnavailableError:
                self.refused.add(worker)
                self.tell()
            else:
                self.acknowledged[job] = value
                self.tell()
                return

    async def keep_dumping(self, worker: int) -> None:
        """Store jobs, each twice and never again."""
        number = 0
        while not self.over:
            job = f"job{worker}-{number}"
            await self.dump(job, {"draft": job}, worker)
            await self.dump(job, {"whole": [job] * 50}, worker)
            number += 1

    async def keep_listing(self) -> None:
        """List the jobs. A listing that is none is an error, and one without a job that is there is never given."""
        while not self.over:
            there = dict.fromkeys(self.acknowledged)
            try:
                found = {job async for job in self.repo}
            except StoreUnavailableError:
                continue
            assert there.keys() <= found
            self.listings += 1

    async def keep_watching(self, last: str) -> None:
        """Watch until a last job is told, as a controller does: begin, list, and list again after a resync."""
        while True:
            try:
                async with self.repo.watch() as events:
                    self.known |= {job async for job in self.repo}
                    async for event in events:
                        if event == Added(last):
                            return
                        if isinstance(event, Added):
                            self.known.add(event.job)
                        elif event == Resync():
                            self.known |= {job async for job in self.repo}
            except StoreUnavailableError:
                self.reopened += 1


async def restart(own: Server, load: Load, refused: int) -> None:
    """Kill the server, start it when so many workers were refused, and wait until it was used again."""
    load.refused.clear()
    await asyncio.to_thread(own.kill)
    await load.until(0, refused)
    await asyncio.to_thread(own.start)
    await load.until(len(load.acknowledged) + 4 * WORKERS)


@pytest.mark.parametrize("patience", [BRIEF, PATIENT], ids=["brief", "patient"])
async def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(
    own: Server, driver: Driver, name: str, patience: int
) -> None:
    async with (
        asyncio.timeout(180),
        collection(driver, own.url, name, serverSelectionTimeoutMS=patience) as live,
    ):
        load = Load(MongoMetadataRepository(lambda: live))
        await load.repo.validate()
        async with asyncio.TaskGroup() as group:
            group.create_task(load.keep_watching("last"))
            for _ in range(2):
                group.create_task(load.keep_listing())
            dumping = [group.create_task(load.keep_dumping(worker)) for worker in range(WORKERS)]
            await load.until(4 * WORKERS)
            if patience == BRIEF:
                for _ in range(2):
                    await restart(own, load, WORKERS)
            else:
                # The client waits for the server, and nobody hears of it.
                await restart(own, load, 0)
            load.over = True
            # What they were about to store when it was over comes before the last.
            await asyncio.wait(dumping)
            await load.repo.dump("last", {})
        assert load.known >= load.acknowledged.keys()
        assert load.listings
        if patience == PATIENT:
            assert not load.reopened
    assert stored(own, name) == {**load.acknowledged, "last": {}}


def stored(own: Server, name: str) -> dict[str, Any]:
    """Give what a client that was not there before finds."""
    base, _, jobs = name.partition("/")
    with MongoClient[dict[str, Any]](own.url) as client:
        return {found.pop("_id"): found for found in client[base][jobs].find()}


async def test_a_pipeline_goes_on_when_its_server_was_killed(own: Server, driver: Driver, name: str) -> None:
    session = Session()

    @session.resource
    async def library() -> AsyncIterator[Database]:
        async with database(driver, own.url, name, serverSelectionTimeoutMS=BRIEF) as live:
            yield live

    jobs = [f"job{number:03}" for number in range(100)]
    base = name.replace("/", "-")
    inputs, outputs, done = (
        MongoMetadataRepository(library, f"{base}-{kind}") for kind in ("inputs", "outputs", "done")
    )
    ended: set[str] = set()
    half, failed = asyncio.Event(), asyncio.Event()

    task = InProcessSyncTask("double", done, retries=Retries(20, delay=0.5, longest=2.0), max_concurrent=WORKERS)
    task.link("inputs", inputs, is_input=True)
    task.link("outputs", outputs, is_output=True)

    @task
    async def double(job: str, inputs: MongoMetadataRepository, outputs: MongoMetadataRepository) -> None:
        try:
            await outputs.dump(job, {"double": 2 * (await inputs.info(job))["number"]})
            while half.is_set() and not failed.is_set():
                # Somebody has to be at it when the server is killed.
                await outputs.info(job)
        except StoreUnavailableError:
            failed.set()
            raise

    def hear(event: object) -> None:
        if isinstance(event, Added):
            ended.add(event.job)
            if len(ended) >= len(jobs) // 3:
                half.set()

    async with asyncio.timeout(180), Pipeline([task], session) as pipeline:
        for number, job in enumerate(jobs):
            await inputs.dump(job, {"number": number})
        with done.changes.listening(hear):
            run = asyncio.create_task(pipeline.run())
            await half.wait()
            await asyncio.to_thread(own.kill)
            await failed.wait()
            await asyncio.to_thread(own.start)
            await run
        records = await done.info_all()
        assert {job: record["result"] for job, record in records.items()} == dict.fromkeys(jobs, "success")
        assert await outputs.info_all() == {job: {"double": 2 * number} for number, job in enumerate(jobs)}
