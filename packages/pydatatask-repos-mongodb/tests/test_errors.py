"""A server that cannot be used says so, tells the reasons apart, and never looks like an empty one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

import pytest
from bson.errors import InvalidBSON
from mongo import Driver, RawCollection, collection, database, server_address, url_of
from pydatatask_core.errors import (
    ConfigurationError,
    ConflictError,
    MalformedValueError,
    PydatataskError,
    SessionClosedError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)
from pydatatask_core.session import Session
from pydatatask_repos_mongodb import MongoMetadataRepository, store
from pydatatask_repos_mongodb._errors import translated
from pydatatask_repos_mongodb.api import Collection
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError as DriverConfigurationError,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from pymongo.results import UpdateResult

pytestmark = pytest.mark.slow

SECRET = "a-secret-that-no-message-may-show"
Verb = Callable[[MongoMetadataRepository], Coroutine[Any, Any, object]]


async def listing(repo: MongoMetadataRepository) -> object:
    return [job async for job in repo]


async def keys(repo: MongoMetadataRepository) -> object:
    return [key async for key in repo.unfiltered_iter()]


async def versions(repo: MongoMetadataRepository) -> object:
    return [page async for page in repo.versions()]


VERBS: dict[str, Verb] = {
    "validate": lambda repo: repo.validate(),
    "iteration": listing,
    "unfiltered_iter": keys,
    "versions": versions,
    "contains": lambda repo: repo.contains("job"),
    "delete": lambda repo: repo.delete("job"),
    "info": lambda repo: repo.info("job"),
    "info_all": lambda repo: repo.info_all(),
    "dump": lambda repo: repo.dump("job", {}),
    "create": lambda repo: repo.create("job", {}),
}


async def refused(live: Collection, verb: str, address: str) -> PydatataskError:
    """Give the error that a verb ends with, having checked what all of them must be."""
    with pytest.raises(PydatataskError) as caught:
        await VERBS[verb](MongoMetadataRepository(lambda: live))
    error = caught.value
    assert f"{live.database.name}.{live.name}" in str(error)
    assert address in str(error)
    assert error.__cause__ is not None
    assert SECRET not in "".join(traceback.format_exception(error))
    return error


@pytest.mark.parametrize("verb", VERBS)
async def test_an_unreachable_server_is_an_unavailable_store(
    driver: Driver, name: str, unused_tcp_port: int, verb: str
) -> None:
    where = f"mongodb://user:{SECRET}@127.0.0.1:{unused_tcp_port}"
    async with collection(driver, where, name, serverSelectionTimeoutMS=100) as live:
        error = await refused(live, verb, f"127.0.0.1:{unused_tcp_port}")
    assert type(error) is StoreUnavailableError
    assert "does not answer" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("verb", VERBS)
async def test_a_server_that_is_silent_does_not_hold_us_for_ever(
    driver: Driver, name: str, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    began = time.monotonic()
    # Motor's thread goes on for as long as the client waits, and the program does not end before.
    wait = 2000 if driver == "motor" else 60_000
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        async with collection(driver, f"mongodb://127.0.0.1:{port}", name, serverSelectionTimeoutMS=wait) as live:
            error = await refused(live, verb, f"127.0.0.1:{port}")
    assert type(error) is StoreUnavailableError
    assert time.monotonic() - began < 50


@pytest.fixture
def strict(url: str) -> None:
    """Skip where the server asks nobody for a password."""
    if "@" not in url:
        pytest.skip("the server of PYDATATASK_TEST_MONGO_URL has no user")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("verb", VERBS)
async def test_a_wrong_password_is_a_credentials_error(driver: Driver, name: str, verb: str) -> None:
    host, port = server_address()
    async with collection(driver, url_of(host, port, password=SECRET), name) as live:
        error = await refused(live, verb, f"{host}:{port}")
    assert type(error) is StoreCredentialsError
    assert "authSource" in str(error)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("verb", VERBS)
async def test_no_credentials_at_all_is_a_credentials_error(driver: Driver, name: str, verb: str) -> None:
    host, port = server_address()
    async with collection(driver, url_of(host, port, user=""), name) as live:
        error = await refused(live, verb, f"{host}:{port}")
    assert type(error) is StoreCredentialsError
    assert "Give user name and password" in str(error)


@pytest.mark.parametrize("size", [16 * 1024 * 1024, 17 * 1024 * 1024, 60 * 1024 * 1024])
async def test_a_value_over_16_mib_is_refused_and_the_earlier_one_stays(
    repo: MongoMetadataRepository, size: int
) -> None:
    await repo.dump("job", {"small": 1})
    for verb in (repo.dump, repo.create):
        for job in ("job", "other"):
            with pytest.raises(StoreFullError, match="16 MiB") as caught:
                await verb(job, {"large": b"x" * size})
            assert len(str(caught.value)) < 500
    assert await repo.info_all() == {"job": {"small": 1}}


async def test_a_value_just_under_16_mib_comes_back(repo: MongoMetadataRepository) -> None:
    data = {"large": b"x" * (16 * 1024 * 1024 - 100)}
    await repo.dump("job", data)
    assert await repo.info("job") == data


async def test_a_value_that_is_nested_too_deeply_is_refused_or_comes_back(repo: MongoMetadataRepository) -> None:
    data: list[Any] = []
    for _ in range(400):
        data = [data]
    # Servers take 100 levels, and some take more.
    with contextlib.suppress(MalformedValueError):
        await repo.dump("job", data)
        assert await repo.info("job") == data
        return
    assert await repo.info_all() == {}


async def test_a_unique_index_that_is_in_the_way_is_a_conflict(
    repo: MongoMetadataRepository, raw: RawCollection
) -> None:
    await raw.create_index("isbn", unique=True)
    await repo.dump("one", {"isbn": "12-34"})
    for work in (repo.dump("two", {"isbn": "12-34"}), repo.create("two", {"isbn": "12-34"})):
        with pytest.raises(ConflictError, match="isbn") as caught:
            await work
        assert "12-34" not in str(caught.value)
    assert await repo.info_all() == {"one": {"isbn": "12-34"}}


async def test_a_database_without_subcollection_is_a_mistake_that_is_named(driver: Driver, url: str, name: str) -> None:
    async with database(driver, url, name) as live:
        with pytest.raises(ConfigurationError, match="subcollection="):
            await MongoMetadataRepository(lambda: live).contains("job")
        repo = MongoMetadataRepository(lambda: live, "books")
        await repo.dump("job", {"a": 1})
        assert await live["books"].find_one({"_id": "job"}) == {"_id": "job", "a": 1}
        below = MongoMetadataRepository(lambda: live["books"], "rare")
        await below.dump("other", {"b": 2})
        assert await live["books.rare"].find_one({}) == {"_id": "other", "b": 2}


async def test_a_client_that_waits_for_no_answers_is_refused(driver: Driver, url: str, name: str) -> None:
    async with collection(driver, url, name, w=0) as live:
        with pytest.raises(ConfigurationError, match="w=0"):
            await MongoMetadataRepository(lambda: live).dump("job", {})


async def test_a_closed_session_is_named(driver: Driver, url: str, name: str) -> None:
    session = Session()

    @session.resource
    async def library() -> AsyncGenerator[Collection, None]:
        async with collection(driver, url, name) as live:
            yield live

    repo = MongoMetadataRepository(library)
    for verb in VERBS.values():
        with pytest.raises(SessionClosedError, match="library"):
            await verb(repo)
    for number in range(2):
        async with session:
            await repo.dump(f"job{number}", {})
    async with session:
        assert sorted([job async for job in repo]) == ["job0", "job1"]


async def test_a_closed_client_is_an_unavailable_store(driver: Driver, url: str, name: str) -> None:
    async with collection(driver, url, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        await repo.dump("job", {})
    with pytest.raises(StoreUnavailableError, match="client is closed"):
        await repo.contains("job")


async def test_everything_is_read_from_the_primary(driver: Driver, url: str, name: str) -> None:
    async with collection(driver, url, name, readPreference="secondary") as live:
        repo = MongoMetadataRepository(lambda: live)
        assert str(repo._store.collection.read_preference) == "Primary()"  # type: ignore[attr-defined]  # of both


ANSWERS: list[tuple[Exception, type[PydatataskError], str]] = [
    (OperationFailure("not authorized on library to execute command", 13), StorePermissionError, "readWrite"),
    (OperationFailure("command find requires authentication", 13), StoreCredentialsError, "user name"),
    (OperationFailure("bad auth : authentication failed", 8000), StoreCredentialsError, "authSource"),
    (OperationFailure("quota exceeded", 12501), StoreFullError, "no room"),
    (OperationFailure("No space left on device", 14031), StoreFullError, "no room"),
    (OperationFailure("exceeded max depth", 15), MalformedValueError, "nested too deeply"),
    (OperationFailure("Document failed validation", 121), MalformedValueError, "validator"),
    (OperationFailure("Invalid namespace", 73), ConfigurationError, "another name"),
    (OperationFailure("operation exceeded time limit", 50), StoreUnavailableError, "Try again"),
    (AutoReconnect("connection closed"), StoreUnavailableError, "does not answer"),
    (ServerSelectionTimeoutError("refused, Timeout: 30s, Topology: <much>"), StoreUnavailableError, "(refused)"),
    (WaitQueueTimeoutError("no connection free"), StoreUnavailableError, "does not answer"),
    (InvalidOperation("Cannot use MongoClient after close"), StoreUnavailableError, "closed"),
    (DriverConfigurationError("SCRAM is not there"), ConfigurationError, "how the client was made"),
    (InvalidBSON("bad"), MalformedValueError, "no valid document"),
    (PyMongoError(), StoreUnavailableError, "PyMongoError"),
    (TimeoutError(), StoreUnavailableError, "does not answer"),
    (RecursionError(), MalformedValueError, "nested too deeply"),
]


@pytest.mark.parametrize(("cause", "kind", "text"), ANSWERS, ids=lambda value: str(value)[:30])
def test_answers_are_told_apart(cause: Exception, kind: type[PydatataskError], text: str) -> None:
    with pytest.raises(PydatataskError) as caught, translated("read job 'x'", lambda: "MongoDB collection a.b at c:1"):
        raise cause
    assert type(caught.value) is kind
    assert caught.value.__cause__ is cause
    assert "Cannot read job 'x' in MongoDB collection a.b at c:1: " in str(caught.value)
    assert text in str(caught.value)


async def test_a_dump_that_meets_another_of_the_same_new_job_is_repeated(repo: MongoMetadataRepository) -> None:
    for number in range(10):
        await asyncio.gather(*(repo.dump(f"job{number}", {"by": by}) for by in range(8)))
    assert len(await repo.info_all()) == 10


@pytest.mark.parametrize(("times", "stored"), [(3, True), (4, False)])
async def test_a_dump_that_others_were_faster_than_is_repeated_and_not_for_ever(
    url: str, name: str, monkeypatch: pytest.MonkeyPatch, times: int, stored: bool
) -> None:
    refusals = [DuplicateKeyError("E11000 duplicate key", 11000, {"keyPattern": {"_id": 1}}) for _ in range(times)]
    whole = AsyncCollection.replace_one

    async def slow(*given: Any, **options: Any) -> UpdateResult:
        if refusals:
            raise refusals.pop()
        return await whole(*given, **options)

    monkeypatch.setattr(AsyncCollection, "replace_one", slow)
    async with collection("pymongo", url, name) as live:
        repo = MongoMetadataRepository(lambda: live)
        if stored:
            await repo.dump("job", {"a": 1})
        else:
            with pytest.raises(ConflictError, match="_id"):
                await repo.dump("job", {"a": 1})
        assert await repo.info_all() == ({"job": {"a": 1}} if stored else {})
