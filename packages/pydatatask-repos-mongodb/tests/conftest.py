"""One server and one database for all tests, a collection for each. Our code may not block the event loop in any."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core.testing.blocking import Allowances, no_blocking
from pymongo import AsyncMongoClient, MongoClient

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from mongo import DRIVERS, Driver, RawCollection, collection, server_url
from mongo_server import URL, own_server
from pydatatask_repos_mongodb import MongoMetadataRepository
from pydatatask_repos_mongodb.api import Collection

__all__ = ["driver", "live", "may_block", "name", "no_blocking", "raw", "repo", "url"]

_numbers = itertools.count()
DATABASE = f"pydatatask-test-{os.getpid()}"


@pytest.fixture(scope="session")
def may_block() -> Allowances:
    """A client looks at this machine when it is made, and when it first connects."""
    return {
        "pymongo/asynchronous/topology.py": ("open",),
        "pymongo/client_options.py": ("_parse_pool_options",),
    }


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that the environment names, or one of our own."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        if not os.environ.get(URL):
            own = stack.enter_context(own_server(tmp_path_factory.mktemp("server")))
            patch.setenv(URL, own.url)
        url = server_url()
        yield url
        with MongoClient[dict[str, Any]](url) as client:
            for name in client.list_database_names():
                if name.startswith(DATABASE):
                    client.drop_database(name)


@pytest.fixture
def name() -> str:
    """The name of a fresh collection: database, ``/``, collection."""
    return f"{DATABASE}/jobs-{next(_numbers)}"


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


@pytest.fixture
async def raw(url: str, name: str) -> AsyncIterator[RawCollection]:
    """The back door: the collection by a client of its own. What is in it at the end is removed."""
    database, _, collection = name.partition("/")
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        yield client[database][collection]
        await client[database][collection].delete_many({})


@pytest.fixture
async def live(driver: Driver, url: str, name: str) -> AsyncIterator[Collection]:
    async with collection(driver, url, name) as found:
        yield found


@pytest.fixture
def repo(live: Collection) -> MongoMetadataRepository:
    return MongoMetadataRepository(lambda: live)
