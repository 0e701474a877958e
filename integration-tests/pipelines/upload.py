"""Two tasks: one copies files, the other uploads them into a bucket, which is at the address in BUCKET_ENDPOINT."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no type information

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

session = pydatatask.Session()


@session.resource
async def bucket() -> AsyncIterator[S3Client]:
    maker = aiobotocore.session.get_session().create_client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["BUCKET_USERNAME"],
        aws_secret_access_key=os.environ["BUCKET_PASSWORD"],
        # The client tries again by itself for ten seconds otherwise, each time.
        config=AioConfig(retries={"total_max_attempts": 1}),
    )
    async with maker as client:
        yield client


inputs = pydatatask.FileRepository("inputs", ".txt")
copies = pydatatask.FileRepository("copies", ".txt")
uploads = pydatatask.S3BucketRepository(bucket, "uploads/", ".txt")


@pydatatask.InProcessSyncTask("copy", pydatatask.YamlMetadataFileRepository("copy_done"))
async def copy(job: str, inputs: pydatatask.FileRepository, copies: pydatatask.FileRepository) -> None:
    async with await inputs.open(job, "rb") as source, await copies.open(job, "wb") as sink:
        await sink.write(await source.read())


@pydatatask.InProcessSyncTask("upload", pydatatask.YamlMetadataS3Repository(bucket, "records", ".yaml"))
async def upload(job: str, inputs: pydatatask.FileRepository, uploads: pydatatask.S3BucketRepository) -> None:
    async with await inputs.open(job, "rb") as source, await uploads.open(job, "wb") as sink:
        await sink.write(await source.read())


copy.link("inputs", inputs, is_input=True)
copy.link("copies", copies, is_output=True)
upload.link("inputs", inputs, is_input=True)
upload.link("uploads", uploads, is_output=True)

pipeline = pydatatask.Pipeline([copy, upload], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
