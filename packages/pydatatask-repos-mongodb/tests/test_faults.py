"""Connections that break in the middle of an operation, and a server that goes away under load and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from mongo import Driver, RawCollection, collection, server_address, url_of
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed
from pydatatask_core.testing.network import BreakingProxy
from pydatatask_repos_mongodb import MongoMetadataRepository, repository, store
from pydatatask_repos_mongodb.api import Collection

pytestmark = pytest.mark.slow


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[BreakingProxy]:
    async with BreakingProxy(*server_address()) as proxy:
        yield proxy


def proxied(driver: Driver, proxy: BreakingProxy, name: str, **options: Any) -> AbstractAsyncContextManager[Collection]:
    usual = {"serverSelectionTimeoutMS": 5000, "heartbeatFrequencyMS": 500}
    return collection(driver, url_of("127.0.0.1", proxy.port), name, **{**usual, **options})


async def test_an_answer_that_is_cut_is_asked_for_again(
    driver: Driver, proxy: BreakingProxy, name: str, raw: RawCollection
) -> None:
    await raw.insert_many([{"_id": f"job{number:04}", "fill": "x" * 1000} for number in range(300)])
    async with proxied(driver, proxy, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        for work in (repo.contains("job0001"), repo.info("job0001"), repo.info_all()):
            proxy.lose_answer(b"find")
            assert await work
            assert proxy.lost.is_set()


async def test_a_listing_whose_cursor_is_cut_is_an_error_and_never_a_short_listing(
    driver: Driver, proxy: BreakingProxy, name: str, raw: RawCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "KEYS", 100)
    await raw.insert_many([{"_id": f"job{number:05}"} for number in range(300)])
    async with proxied(driver, proxy, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        proxy.lose_answer(b"getMore", b"jobs")
        with pytest.raises(StoreUnavailableError, match="list the jobs"):
            [job async for job in repo]
        assert len([job async for job in repo]) == 300


@pytest.mark.parametrize("retry", [True, False])
async def test_a_write_whose_answer_is_lost_is_done_or_is_an_error(
    driver: Driver, proxy: BreakingProxy, name: str, raw: RawCollection, retry: bool
) -> None:
    async with proxied(driver, proxy, name, retryWrites=retry) as live:
        repo = MongoMetadataRepository(lambda: live)
        await repo.dump("job", {"value": "old"})
        heard: list[KeyEvent] = []
        with repo.changes.listening(heard.append):
            proxy.lose_answer(b"update", b"jobs")
            if retry:
                await repo.dump("job", {"value": "new"})
                assert heard == [Added("job")]
            else:
                with pytest.raises(StoreUnavailableError, match="store job 'job'"):
                    await repo.dump("job", {"value": "new"})
                assert heard == []
            assert proxy.lost.is_set()
            assert await repo.info("job") in ({"value": "old"}, {"value": "new"})
            proxy.lose_answer(b"delete", b"jobs")
            if retry:
                await repo.delete("job")
                assert heard[-1] == Removed("job")
                assert await raw.find_one({}) is None
            else:
                with pytest.raises(StoreUnavailableError, match="delete job 'job'"):
                    await repo.delete("job")


async def test_of_a_create_whose_answer_was_lost_somebody_has_won(
    driver: Driver, proxy: BreakingProxy, name: str, raw: RawCollection
) -> None:
    async with proxied(driver, proxy, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        await repo.contains("job")
        proxy.lose_answer(b"insert", b"jobs")
        won = await asyncio.gather(*(repo.create("job", {"by": by}) for by in range(5)), return_exceptions=True)
        assert proxy.lost.is_set()
        assert all(isinstance(each, bool | StoreUnavailableError) for each in won)
        stored = await raw.find_one({"_id": "job"})
        assert stored is not None
        assert won.count(True) <= 1
        if True in won:
            assert stored["by"] == won.index(True)


@pytest.mark.parametrize("_", range(2))
async def test_a_server_that_goes_away_under_load_loses_nothing(
    driver: Driver, proxy: BreakingProxy, name: str, raw: RawCollection, _: int
) -> None:
    jobs = [f"job{number}" for number in range(200)]
    refusals = 0
    half = asyncio.Event()
    done: list[str] = []

    async def keep_storing(repo: MongoMetadataRepository, todo: list[str]) -> None:
        nonlocal refusals
        while todo:
            job = todo.pop()
            while True:
                try:
                    await repo.dump(job, {"value": job})
                    assert await repo.info(job) == {"value": job}
                except StoreUnavailableError:
                    refusals += 1
                else:
                    break
            done.append(job)
            if len(done) >= len(jobs) // 2:
                half.set()

    async with proxied(driver, proxy, name) as live, asyncio.timeout(120):
        repo = MongoMetadataRepository(lambda: live)
        todo = list(jobs)
        load = asyncio.gather(*(keep_storing(repo, todo) for _ in range(8)))
        await half.wait()
        proxy.down = True
        proxy.kill()
        while not refusals:
            await asyncio.sleep(0)
        proxy.down = False
        await load
    assert {document["_id"]: document["value"] async for document in raw.find()} == {job: job for job in jobs}


async def test_a_server_that_falls_silent_in_the_middle_is_given_up(
    driver: Driver, proxy: BreakingProxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxied(driver, proxy, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        await repo.dump("job", {"value": "old"})
        monkeypatch.setattr(store, "PATIENCE", 0.3)
        proxy.silent = True
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await repo.info("job")
        proxy.kill()
        proxy.silent = False
        monkeypatch.setattr(store, "PATIENCE", 20)
        assert await repo.info("job") == {"value": "old"}
