"""A process that writes one large value to a bucket, slowly and for ever, until somebody kills it.

Run with the URL of the server and the bucket's name. Says ``uploading`` once the first part is in the store.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from aiobotocore.session import get_session  # type: ignore[import-untyped]  # it has no type information
from pydatatask_core.session import Session
from pydatatask_repos_s3 import S3BucketRepository

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CHUNK = bytes(1024 * 1024)


async def write(url: str, bucket: str) -> None:
    session = Session()

    @session.resource
    async def store() -> AsyncGenerator[S3Client, None]:
        async with get_session().create_client(
            "s3", endpoint_url=url, aws_access_key_id="any", aws_secret_access_key="any"
        ) as client:
            yield client

    async with session:
        repo = S3BucketRepository(store, bucket)
        async with await repo.open("small", "wb") as small, await repo.open("large", "wb") as large:
            await small.write(CHUNK)
            for _ in range(12):
                await large.write(CHUNK)
            print("uploading", flush=True)
            while True:
                await large.write(CHUNK)


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))
