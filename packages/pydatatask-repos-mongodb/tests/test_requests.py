"""Each operation is one request, and a listing asks for keys and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from mongo import Driver, RawCollection, collection
from pydatatask_repos_mongodb import MongoMetadataRepository, repository
from pydatatask_repos_mongodb.api import Collection
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from typing_extensions import override


class Requests(CommandListener):
    """The commands that a client sent."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    @property
    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.sent]

    @override
    def started(self, event: CommandStartedEvent) -> None:
        self.sent.append(dict(event.command))

    @override
    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    @override
    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
async def live(driver: Driver, url: str, name: str, requests: Requests) -> AsyncIterator[Collection]:
    async with collection(driver, url, name, event_listeners=[requests]) as found:
        await found.find_one({})
        requests.sent.clear()
        yield found


VERBS: dict[str, tuple[Callable[[MongoMetadataRepository], Awaitable[object]], str]] = {
    "info": (lambda repo: repo.info("job"), "find"),
    "contains": (lambda repo: repo.contains("job"), "find"),
    "dump": (lambda repo: repo.dump("job", {"new": 1}), "update"),
    "dump of a new job": (lambda repo: repo.dump("new", {"new": 1}), "update"),
    "create": (lambda repo: repo.create("new", {"new": 1}), "insert"),
    "create in vain": (lambda repo: repo.create("job", {"new": 1}), "insert"),
    "delete": (lambda repo: repo.delete("job"), "delete"),
    "info_all": (lambda repo: repo.info_all(), "find"),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_each_operation_is_one_request(
    repo: MongoMetadataRepository, raw: RawCollection, requests: Requests, verb: str
) -> None:
    await raw.insert_one({"_id": "job", "old": 1})
    work, command = VERBS[verb]
    await work(repo)
    assert requests.names == [command]


async def test_contains_fetches_no_value(repo: MongoMetadataRepository, raw: RawCollection, requests: Requests) -> None:
    await raw.insert_one({"_id": "job", "old": 1})
    assert await repo.contains("job")
    assert requests.sent[0]["projection"] == {"_id": 1}


async def test_a_listing_asks_for_keys_by_the_batch(
    repo: MongoMetadataRepository, raw: RawCollection, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "KEYS", 200)
    monkeypatch.setattr(repository, "PAGE", 150)
    await raw.insert_many([{"_id": f"job{number}", "fill": "x" * 100} for number in range(500)])
    assert [len(page) async for page in repo.pages()] == [150, 50, 150, 50, 100]
    assert len([key async for key in repo.unfiltered_iter()]) == 500
    assert requests.names == ["find", "getMore", "getMore"] * 2
    for sent in (requests.sent[:3], requests.sent[3:]):
        assert sent[0]["projection"] == sent[0]["hint"] == {"_id": 1}
        assert {command.get("batchSize") for command in sent} == {200}


async def test_info_all_reads_by_the_batch(
    repo: MongoMetadataRepository, raw: RawCollection, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "VALUES", 200)
    await raw.insert_many([{"_id": f"job{number}", "number": number} for number in range(500)])
    infos = await repo.info_all()
    assert infos == {f"job{number}": {"number": number} for number in range(500)}
    assert requests.names == ["find", "getMore", "getMore"]


async def test_a_listing_that_is_left_early_lets_go_of_its_cursor(
    repo: MongoMetadataRepository, raw: RawCollection, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "KEYS", 10)
    await raw.insert_many([{"_id": f"job{number}"} for number in range(50)])
    pages = repo.pages()
    async for page in pages:
        assert len(page) == 10
        break
    await pages.aclose()  # type: ignore[attr-defined]  # it is a generator, which an iterator need not be
    assert requests.names[0] == "find"
    assert requests.names[-1] == "killCursors"


@pytest.mark.slow
async def test_change_streams_that_are_not_wanted_any_more_are_let_go_of(
    repo: MongoMetadataRepository, requests: Requests
) -> None:
    await repo.validate()
    assert requests.names[:2] == ["find", "aggregate"]
    assert requests.names[-1] == "killCursors"
    requests.sent.clear()
    async with repo.watch():
        pass
    assert requests.names[0] == "aggregate"
    assert requests.names[-1] == "killCursors"
