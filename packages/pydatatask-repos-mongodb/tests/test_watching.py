"""Watching goes on through broken connections, says when it cannot, and is polling where the server has no streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest
from mongo import Driver, RawCollection, collection, server_address, url_of
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from pydatatask_core.testing.network import BreakingProxy
from pydatatask_repos_mongodb import MongoMetadataRepository, watching
from pydatatask_repos_mongodb.api import Collection
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection as BlockingCollection
from pymongo.errors import AutoReconnect, OperationFailure

pytestmark = pytest.mark.slow


@pytest.fixture
async def proxy(url: str) -> AsyncIterator[BreakingProxy]:
    async with BreakingProxy(*server_address()) as proxy:
        yield proxy


@pytest.fixture
async def proxied(driver: Driver, proxy: BreakingProxy, name: str) -> AsyncIterator[Collection]:
    async with collection(
        driver, url_of("127.0.0.1", proxy.port), name, serverSelectionTimeoutMS=1500, heartbeatFrequencyMS=500
    ) as live:
        yield live


async def next_of(events: AsyncIterator[KeyEvent]) -> KeyEvent:
    async with asyncio.timeout(20):
        return await anext(events)


async def until(events: AsyncIterator[KeyEvent], wanted: KeyEvent) -> list[KeyEvent]:
    """Give the events up to one."""
    heard: list[KeyEvent] = []
    while not heard or heard[-1] != wanted:
        heard.append(await next_of(events))
    return heard


def break_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next wait for a change fail as if the driver had tried again in vain."""
    whole = watching._Stream.next

    async def broken(self: watching._Stream) -> NoReturn:
        monkeypatch.setattr(watching._Stream, "next", whole)
        raise AutoReconnect("connection closed")

    monkeypatch.setattr(watching._Stream, "next", broken)


async def test_a_killed_connection_loses_no_event(
    proxied: Collection, proxy: BreakingProxy, raw: RawCollection
) -> None:
    repo = MongoMetadataRepository(lambda: proxied)
    await repo.validate()
    async with repo.watch() as events:
        await raw.insert_one({"_id": "before"})
        assert await next_of(events) == Added("before")
        proxy.kill()
        await raw.insert_one({"_id": "during"})
        await raw.delete_one({"_id": "before"})
        assert await until(events, Removed("before")) == [Added("during"), Removed("before")]


async def test_a_stream_that_broke_off_is_resumed_where_it_did(
    repo: MongoMetadataRepository, raw: RawCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await repo.validate()
    async with repo.watch() as events:
        await raw.insert_one({"_id": "before"})
        assert await next_of(events) == Added("before")
        break_once(monkeypatch)
        await raw.insert_one({"_id": "during"})
        assert await next_of(events) == Added("during")


async def test_a_stream_that_cannot_be_resumed_says_resync(
    repo: MongoMetadataRepository, raw: RawCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = watching._Stream.open

    async def forgetful(found: Collection, token: Any) -> watching._Stream:
        if token is not None:
            raise OperationFailure("the resume point may no longer be in the oplog", 286)
        return await whole(found, token)

    await repo.validate()
    async with repo.watch() as events:
        await raw.insert_one({"_id": "before"})
        assert await next_of(events) == Added("before")
        break_once(monkeypatch)
        monkeypatch.setattr(watching._Stream, "open", forgetful)
        await raw.insert_one({"_id": "during"})
        assert await next_of(events) == Resync()
        assert sorted([job async for job in repo]) == ["before", "during"]
        await raw.insert_one({"_id": "after"})
        assert await next_of(events) == Added("after")


async def test_a_server_refuses_a_token_that_it_does_not_know(repo: MongoMetadataRepository) -> None:
    with pytest.raises(watching.NoChangeStreamsError):
        await watching._open(repo._store, {"_data": "8200"})


async def test_a_dropped_collection_says_resync_and_is_watched_on(
    repo: MongoMetadataRepository, raw: RawCollection
) -> None:
    await repo.validate()
    async with repo.watch() as events:
        await raw.insert_one({"_id": "before"})
        assert await next_of(events) == Added("before")
        await raw.drop()
        assert await next_of(events) == Resync()
        assert [job async for job in repo] == []
        await raw.insert_one({"_id": "after"})
        assert await next_of(events) == Added("after")


async def test_a_server_that_stays_away_is_an_unavailable_store(
    proxied: Collection, proxy: BreakingProxy, raw: RawCollection
) -> None:
    repo = MongoMetadataRepository(lambda: proxied)
    await repo.validate()
    async with repo.watch() as events:
        await raw.insert_one({"_id": "before"})
        assert await next_of(events) == Added("before")
        proxy.down = True
        proxy.kill()
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await next_of(events)
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            async with repo.watch():
                pass
    proxy.down = False
    async with repo.watch() as events:
        await raw.insert_one({"_id": "after"})
        assert await next_of(events) == Added("after")


@pytest.fixture
def without_streams(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A single server, which refuses change streams."""
    refusal = OperationFailure("The $changeStream stage is only supported on replica sets", 40573)

    async def refuse(*_: object, **__: object) -> NoReturn:
        raise refusal

    def refuse_blocking(*_: object, **__: object) -> NoReturn:
        raise refusal

    monkeypatch.setattr(AsyncCollection, "watch", refuse)
    monkeypatch.setattr(BlockingCollection, "watch", refuse_blocking)
    return monkeypatch


@pytest.mark.usefixtures("without_streams")
async def test_without_change_streams_a_repository_is_polled(repo: MongoMetadataRepository, raw: RawCollection) -> None:
    await repo.validate()
    assert repo.change_source is ChangeSource.POLLED
    async with repo.watch() as events:
        await repo.dump("own", {"v": 1})
        assert await next_of(events) == Added("own")
    before = {job: version async for page in repo.versions() for job, version in page}
    await raw.insert_one({"_id": "foreign"})
    await raw.replace_one({"_id": "own"}, {"v": 2})
    after = {job: version async for page in repo.versions() for job, version in page}
    assert before.keys() == {"own"}
    assert after.keys() == {"own", "foreign"}
    assert after["own"] != before["own"]


async def test_change_streams_that_are_taken_away_turn_watching_into_polling(
    repo: MongoMetadataRepository, request: pytest.FixtureRequest
) -> None:
    await repo.validate()
    sources = [repo.change_source]
    request.getfixturevalue("without_streams")
    with pytest.raises(StoreUnavailableError, match="it is polled"):
        async with repo.watch():
            pass
    sources.append(repo.change_source)
    assert sources == [ChangeSource.WATCHED, ChangeSource.POLLED]


async def test_who_validates_again_finds_out_that_change_streams_are_gone(
    repo: MongoMetadataRepository, request: pytest.FixtureRequest
) -> None:
    sources = []
    await repo.validate()
    sources.append(repo.change_source)
    request.getfixturevalue("without_streams")
    await repo.validate()
    sources.append(repo.change_source)
    assert sources == [ChangeSource.WATCHED, ChangeSource.POLLED]


async def test_what_one_object_found_out_all_of_the_location_know(live: Collection) -> None:
    def library() -> Collection:
        return live

    one, other = MongoMetadataRepository(library), MongoMetadataRepository(library)
    await one.validate()
    assert other.change_source is ChangeSource.WATCHED


async def test_events_carry_no_values(repo: MongoMetadataRepository, raw: RawCollection) -> None:
    stream = await watching._open(repo._store, None)
    try:
        await raw.insert_one({"_id": "job", "large": "x" * 1000})
        async with asyncio.timeout(20):
            while (change := await stream.next()) is None:
                pass
    finally:
        await stream.close()
    assert "fullDocument" not in change


def test_what_a_later_server_tells_is_a_resync() -> None:
    assert watching._event({"operationType": "reshardCollection"}) == Resync()
