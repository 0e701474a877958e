"""Texts in a bucket, counted in containers, and what came out as documents of MongoDB."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import aiodocker
import pydatatask
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from types_aiobotocore_s3.client import S3Client

session = pydatatask.Session()


@session.resource
async def bucket() -> AsyncIterator[S3Client]:
    async with aiobotocore.session.get_session().create_client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT"],
        aws_access_key_id=os.environ["BUCKET_USERNAME"],
        aws_secret_access_key=os.environ["BUCKET_PASSWORD"],
    ) as client:
        yield client


@session.resource
async def database() -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](os.environ["MONGO_URL"]) as client:
        yield client[os.environ["MONGO_DATABASE"]]


@session.resource
async def engine() -> AsyncIterator[pydatatask.DockerManager]:
    async with aiodocker.Docker() as docker:
        yield pydatatask.DockerManager(os.environ["TEST_APP"], docker)


count = pydatatask.ContainerTask(
    "count",
    engine,
    pydatatask.ResourceManager(pydatatask.Resources.parse(4, "1Gi")),
    pydatatask.Resources.parse("500m", "32Mi"),
    os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox",
    'set -e; wc -w; [ "$TEXT" != broken ]',
    environ={"TEXT": "{{ job }}"},
    done=pydatatask.MongoMetadataRepository(database, "counted"),
    stdin=pydatatask.S3BucketRepository(bucket, "lake/texts/", ".txt"),
    stdout=pydatatask.S3BucketRepository(bucket, "lake/counts/", ".txt"),
)


@pydatatask.InProcessSyncTask("keep", pydatatask.MongoMetadataRepository(database, "kept"))
async def keep(job: str, stdout: pydatatask.S3BucketRepository, words: pydatatask.MongoMetadataRepository) -> None:
    async with await stdout.open(job, "r") as counted:
        await words.dump(job, {"words": int(await counted.read())})


keep.plug(count)
keep.link("words", pydatatask.MongoMetadataRepository(database, "words"), is_output=True)

pipeline = pydatatask.Pipeline([count, keep], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
