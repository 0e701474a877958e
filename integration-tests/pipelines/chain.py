"""A chain over S3, files and YAML: in-process, then in threads, then in processes of their own.

While the file ``gate`` is missing, a worker process that began a job waits, with its pid as a name in ``waiting``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

session = pydatatask.Session()


@session.resource
async def bucket() -> AsyncGenerator[S3Client, None]:
    async with aiobotocore.session.get_session().create_client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT"],
        aws_access_key_id=os.environ["BUCKET_USERNAME"],
        aws_secret_access_key=os.environ["BUCKET_PASSWORD"],
    ) as client:
        yield client


texts = pydatatask.S3BucketRepository(bucket, "lake/texts/", ".txt")
files = pydatatask.FileRepository("files", ".txt")
counts = pydatatask.YamlMetadataFileRepository("counts")
reports = pydatatask.YamlMetadataS3Repository(bucket, "lake/reports/")
fetch_done = pydatatask.YamlMetadataFileRepository("fetch_done")
count_done = pydatatask.YamlMetadataFileRepository("count_done")
report_done = pydatatask.YamlMetadataS3Repository(bucket, "lake/done/")


@pydatatask.InProcessSyncTask("fetch", fetch_done)
async def fetch(job: str, texts: pydatatask.S3BucketRepository, files: pydatatask.FileRepository) -> None:
    async with await texts.open(job, "rb") as source, await files.open(job, "wb") as sink:
        while data := await source.read(4096):
            await sink.write(data)


@pydatatask.ExecutorTask("count", ThreadPoolExecutor(2), count_done)
async def count(job: str, files: pydatatask.FileRepository, counts: pydatatask.YamlMetadataFileRepository) -> None:
    async with await files.open(job, "r") as file:
        await counts.dump(job, {"words": len((await file.read()).split())})


@pydatatask.ExecutorTask("report", ProcessPoolExecutor(2), report_done)
async def report(
    job: str, counts: pydatatask.YamlMetadataFileRepository, reports: pydatatask.YamlMetadataS3Repository
) -> None:
    while not Path("gate").exists():
        (Path("waiting") / str(os.getpid())).touch()
        await asyncio.sleep(0.01)
    await reports.dump(job, {"job": job, **await counts.info(job), "pid": os.getpid(), "parent": os.getppid()})


fetch.link("texts", texts, is_input=True)
fetch.link("files", files, is_output=True)
count.plug(fetch)
count.link("counts", counts, is_output=True)
report.plug(count)
report.link("reports", reports, is_output=True)

pipeline = pydatatask.Pipeline([fetch, count, report], session)

if __name__ == "__main__":
    pydatatask.main(pipeline)
