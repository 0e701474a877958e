"""The server that the tests talk to, and clients of it by both drivers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote_plus

from mongo_server import URL
from motor.motor_asyncio import AsyncIOMotorClient
from pydatatask_repos_mongodb.api import Collection, Database
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.uri_parser import parse_uri

Driver = Literal["pymongo", "motor"]
DRIVERS: tuple[Driver, ...] = ("pymongo", "motor")

RawCollection = AsyncCollection[dict[str, Any]]


def server_url() -> str:
    """Where the server is. The fixture ``url`` sees to it that there is one."""
    return os.environ[URL]


def server_address() -> tuple[str, int]:
    ((host, port), *_) = parse_uri(server_url())["nodelist"]
    assert port is not None
    return host, port


def url_of(host: str, port: int, **changed: str) -> str:
    """The server's URL with another address, and with another user or password if these are given."""
    parsed = parse_uri(server_url())
    user = changed.get("user", parsed["username"])
    password = changed.get("password", parsed["password"])
    credentials = f"{quote_plus(user)}:{quote_plus(password)}@" if user else ""
    return f"mongodb://{credentials}{host}:{port}/?directConnection=true&authSource=admin"


@asynccontextmanager
async def database(driver: Driver, url: str, name: str, **options: Any) -> AsyncIterator[Database]:
    """The database that a name begins with, of a fresh client, which is closed at the end."""
    name = name.partition("/")[0]
    if driver == "motor":
        motor: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, **options)
        try:
            yield motor[name]
        finally:
            # It says farewell to the server and waits for the answer, which may come through a proxy on this loop.
            await asyncio.to_thread(motor.close)
        return
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **options)
    async with client:
        yield client[name]


@asynccontextmanager
async def collection(driver: Driver, url: str, name: str, **options: Any) -> AsyncIterator[Collection]:
    """The collection that a name tells: database, ``/``, collection."""
    async with database(driver, url, name, **options) as found:
        yield found[name.partition("/")[2]]
