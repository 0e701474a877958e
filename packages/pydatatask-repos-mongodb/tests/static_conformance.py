"""What the MongoDB repository claims to be, and which clients it takes, for the type checker to see. Nothing runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, assert_type

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pydatatask_core.repository.protocols import (
    CanContain,
    CanDelete,
    CanDump,
    CanInfo,
    CanList,
    CanWatch,
    CreatingRepository,
    MetadataRepository,
    Repository,
)
from pydatatask_core.session import Session
from pydatatask_repos_mongodb import MongoMetadataRepository
from pydatatask_repos_mongodb.api import ChangeStream, Collection, Cursor, Database
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

Document = dict[str, Any]


def claims(repo: MongoMetadataRepository) -> None:
    _bases: tuple[Repository, MetadataRepository, CreatingRepository] = (repo, repo, repo)
    _list: CanList = repo
    _contain: CanContain = repo
    _delete: CanDelete = repo
    _info: CanInfo = repo
    _dump: CanDump = repo
    _watch: CanWatch = repo


async def types(repo: MongoMetadataRepository) -> None:
    assert_type(await repo.contains("job"), bool)
    assert_type(await repo.create("job", {}), bool)
    assert_type(repo.__aiter__(), AsyncIterator[str])


async def pymongo_satisfies(collection: AsyncCollection[Document], database: AsyncDatabase[Document]) -> None:
    _collection: Collection = collection
    _database: Database = database
    _cursor: Cursor = collection.find()
    _stream: ChangeStream = await collection.watch()


def motor_satisfies(collection: AsyncIOMotorCollection[Document], database: AsyncIOMotorDatabase[Document]) -> None:
    _collection: Collection = collection
    _database: Database = database
    _cursor: Cursor = collection.find()
    _stream: ChangeStream = collection.watch()


def clients(session: Session, url: str) -> None:
    async def of_pymongo() -> AsyncGenerator[AsyncCollection[Document], None]:
        async with AsyncMongoClient[Document](url) as client:
            yield client["library"]["books"]

    async def of_motor() -> AsyncGenerator[AsyncIOMotorDatabase[Document], None]:
        client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(url)
        yield client["library"]
        client.close()

    MongoMetadataRepository(session.resource(of_pymongo))
    MongoMetadataRepository(session.resource(of_motor), "books")
