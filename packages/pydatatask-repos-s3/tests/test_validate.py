"""What opening a pipeline does to a bucket: it is made, looked at, and rid of what a killed process left."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydatatask_core.errors import ConfigurationError
from pydatatask_repos_s3 import S3BucketRepository
from pydatatask_repos_s3._bucket import Bucket
from pydatatask_repos_s3.address import Address
from pydatatask_repos_s3.parts import part_size
from pydatatask_repos_s3.sweep import FORGOTTEN, sweep
from s3_requests import recorded
from s3_server import OWN, MakeClient, Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LATER = timedelta(hours=1)


async def test_a_missing_bucket_is_made(client: S3Client, bucket_name: str) -> None:
    repo = S3BucketRepository(lambda: client, bucket_name)
    await repo.validate()
    assert [job async for job in repo] == []
    assert (await client.get_bucket_location(Bucket=bucket_name)).get("LocationConstraint") is None


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_a_missing_bucket_is_made_in_the_clients_region(
    make_client: MakeClient, bucket_name: str, region: str
) -> None:
    async with make_client(region_name=region) as client:
        await S3BucketRepository(lambda: client, bucket_name).validate()
        location: str | None = (await client.get_bucket_location(Bucket=bucket_name))["LocationConstraint"]
    assert (location or "us-east-1") == region


async def test_a_bucket_that_is_there_is_left_as_it_is(client: S3Client, bucket: str) -> None:
    await client.put_object(Bucket=bucket, Key="job", Body=b"value")
    with recorded(client) as sent:
        await S3BucketRepository(lambda: client, bucket).validate()
    assert sent == ["ListObjectsV2", "ListMultipartUploads"]


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_several_may_make_the_bucket_at_the_same_time(
    make_client: MakeClient, bucket_name: str, region: str
) -> None:
    async with make_client(region_name=region) as client:
        all_are_about_to = asyncio.Event()
        waiting = 0

        async def wait(**_: object) -> None:
            nonlocal waiting
            waiting += 1
            if waiting == 3:
                all_are_about_to.set()
            await all_are_about_to.wait()

        client.meta.events.register("before-send.s3.CreateBucket", wait)
        repos = [S3BucketRepository(lambda: client, bucket_name, suffix) for suffix in (".a", ".b", ".c")]
        async with asyncio.timeout(20):
            await asyncio.gather(*(repo.validate() for repo in repos))
        assert waiting == 3


async def test_a_name_that_the_store_refuses_is_a_configuration_error(client: S3Client) -> None:
    with pytest.raises(ConfigurationError, match="Choose another name"):
        await S3BucketRepository(lambda: client, "x").validate()


# What a killed process leaves


@pytest.fixture
async def killed(server: Server, client: S3Client, bucket: str) -> S3BucketRepository:
    """A repository of whose writers one was killed in the middle of an upload."""
    script = Path(__file__).with_name("writer_process.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), server.url, bucket, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"uploading\n"
    finally:
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
    return S3BucketRepository(lambda: client, bucket)


async def uploads(client: S3Client, bucket: str) -> list[str]:
    answer = await client.list_multipart_uploads(Bucket=bucket)
    return sorted(upload["Key"] for upload in answer.get("Uploads", []))


async def upload(client: S3Client, bucket: str, key: str, *sizes: int) -> None:
    """Begin an upload as another program would, and leave it."""
    begun = await client.create_multipart_upload(Bucket=bucket, Key=key)
    for number, size in enumerate(sizes, 1):
        await client.upload_part(
            Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=number, Body=io.BytesIO(bytes(size))
        )


@pytest.mark.slow
async def test_a_writer_killed_in_an_upload_publishes_nothing_and_is_swept_a_day_later(
    killed: S3BucketRepository, client: S3Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert [job async for job in killed] == []
    assert not await killed.contains("large")
    assert not await killed.contains("small")
    assert await uploads(client, killed.bucket) == ["large"]
    await killed.validate()
    assert await uploads(client, killed.bucket) == ["large"], "a fresh upload may be somebody's who lives"
    bucket, address = Bucket(lambda: client, killed.bucket), Address(killed.bucket, "", "")
    now = datetime.now(UTC)
    assert await sweep(bucket, Address(killed.bucket, "", ".txt"), now + FORGOTTEN + LATER) == 0
    assert await sweep(bucket, Address(killed.bucket, "raw/", ""), now + FORGOTTEN + LATER) == 0
    with caplog.at_level(logging.INFO, "pydatatask.repository"):
        assert await sweep(bucket, address, now + FORGOTTEN + LATER) == 1
    assert "'large'" in caplog.text
    assert await uploads(client, killed.bucket) == []
    assert [job async for job in killed] == []


async def test_the_uploads_of_others_are_never_touched(client: S3Client, bucket: str) -> None:
    mib = 1024 * 1024
    await upload(client, bucket, "raw/empty.txt")
    await upload(client, bucket, "raw/round.txt", 8 * mib, 1000)
    await upload(client, bucket, "raw/short.txt", 1000)
    await upload(client, bucket, "raw/no job.txt", part_size(1))
    await upload(client, bucket, "raw/deep/job.txt", part_size(1))
    await upload(client, bucket, "other/job.txt", part_size(1))
    await upload(client, bucket, "raw/job.csv", part_size(1))
    before = await uploads(client, bucket)
    assert len(before) == 7
    later = datetime.now(UTC) + 30 * FORGOTTEN
    assert await sweep(Bucket(lambda: client, bucket), Address(bucket, "raw/", ".txt"), later) == 0
    assert await uploads(client, bucket) == before


async def test_an_upload_that_still_grows_is_left(client: S3Client, bucket: str) -> None:
    await upload(client, bucket, "job", part_size(1))
    # The server's uploads all seem to have begun in 2010; the part came just now.
    now = datetime.now(UTC)
    assert await sweep(Bucket(lambda: client, bucket), Address(bucket, "", ""), now + FORGOTTEN - LATER) == 0
    assert await uploads(client, bucket) == ["job"]
    assert await sweep(Bucket(lambda: client, bucket), Address(bucket, "", ""), now + FORGOTTEN + LATER) == 1


async def test_who_may_not_list_uploads_can_open_the_bucket_all_the_same(
    strict_server: Server, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_client(
        endpoint_url=strict_server.url,
        aws_access_key_id=strict_server.key,
        aws_secret_access_key=strict_server.secret,
    ) as client:
        repo = S3BucketRepository(lambda: client, f"{OWN}-unswept")
        with caplog.at_level(logging.INFO, "pydatatask.repository"):
            await repo.validate()
        assert "not looked for" in caplog.text
        assert "AccessDenied" in caplog.text
