"""What writing promises beyond the conformance suite: how many requests, and that no upload is left behind."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no type information
from pydatatask_core import cancelling
from pydatatask_core.errors import StoreFullError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, Removed
from pydatatask_repos_s3 import S3BucketRepository, writer
from pydatatask_repos_s3.parts import MAX_PARTS, is_ours, part_size
from s3_requests import Moment, held, recorded
from s3_server import MakeClient

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

MIB = 1024 * 1024
LARGE = random.Random(2).randbytes(3 * MIB) * 6
"""Two full parts and a rest."""

UPLOAD = ["CreateMultipartUpload", "UploadPart", "UploadPart", "UploadPart", "CompleteMultipartUpload"]


@pytest.fixture
def repo(client: S3Client, bucket: str) -> S3BucketRepository:
    return S3BucketRepository(lambda: client, bucket, mimetype="text/plain")


async def write(repo: S3BucketRepository, value: bytes, step: int = MIB) -> None:
    async with await repo.open("job", "wb") as stream:
        for start in range(0, len(value), step):
            await stream.write(value[start : start + step])


async def stored(client: S3Client, bucket: str) -> bytes | None:
    try:
        answer = await client.get_object(Bucket=bucket, Key="job")
    except client.exceptions.NoSuchKey:
        return None
    body: bytes = await answer["Body"].read()
    return body


async def uploads(client: S3Client, bucket: str) -> list[str]:
    answer = await client.list_multipart_uploads(Bucket=bucket)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


async def test_a_small_value_is_one_request(repo: S3BucketRepository, client: S3Client) -> None:
    with recorded(client) as sent:
        await write(repo, b"x" * (8 * MIB))
    assert sent == ["PutObject"]
    head = await client.head_object(Bucket=repo.bucket, Key="job")
    assert (head["ContentType"], head["ContentLength"]) == ("text/plain", 8 * MIB)


@pytest.mark.parametrize("step", [MIB, len(LARGE)])
async def test_a_large_value_is_uploaded_in_parts(repo: S3BucketRepository, client: S3Client, step: int) -> None:
    with recorded(client) as sent:
        await write(repo, LARGE, step)
    assert sent == UPLOAD
    assert await stored(client, repo.bucket) == LARGE
    assert (await client.head_object(Bucket=repo.bucket, Key="job"))["ContentType"] == "text/plain"
    assert await uploads(client, repo.bucket) == []


async def test_a_value_as_long_as_its_parts_has_no_empty_one(repo: S3BucketRepository, client: S3Client) -> None:
    with recorded(client) as sent:
        await write(repo, LARGE[: part_size(1)])
        await write(repo, LARGE[: part_size(1) + part_size(2)])
    assert sent == ["PutObject", *UPLOAD[:1], *UPLOAD[2:]]
    assert await stored(client, repo.bucket) == LARGE[: part_size(1) + part_size(2)]


async def test_the_parts_checksums_are_sent_again_at_the_end(repo: S3BucketRepository, client: S3Client) -> None:
    completed: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: object) -> None:
        completed.extend(params["MultipartUpload"]["Parts"])

    client.meta.events.register("provide-client-params.s3.CompleteMultipartUpload", note)
    await write(repo, LARGE)
    assert [part["PartNumber"] for part in completed] == [1, 2, 3]
    assert all(part["ETag"] and part["ChecksumCRC32"] for part in completed)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before-send", "response-received"])
@pytest.mark.parametrize(
    ("operation", "nth"),
    [("CreateMultipartUpload", 1), ("UploadPart", 1), ("UploadPart", 3), ("CompleteMultipartUpload", 1)],
)
async def test_a_cancelled_upload_leaves_no_upload_behind(
    repo: S3BucketRepository, client: S3Client, operation: str, nth: int, moment: Moment
) -> None:
    await client.put_object(Bucket=repo.bucket, Key="job", Body=b"earlier")
    heard: list[object] = []
    with held(client, operation, moment, nth) as request, repo.changes.listening(heard.append):
        task = asyncio.create_task(write(repo, LARGE))
        async with asyncio.timeout(20):
            await request.reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            request.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert await uploads(client, repo.bucket) == []
    if operation == "CompleteMultipartUpload":
        assert await stored(client, repo.bucket) == LARGE
        assert heard == [Added("job")], "what was published must be known, whoever waits for it"
    else:
        assert await stored(client, repo.bucket) == b"earlier"
        assert heard == []


@pytest.mark.parametrize("moment", ["before-send", "response-received"])
async def test_what_a_cancelled_put_or_delete_did_is_announced(
    repo: S3BucketRepository, client: S3Client, moment: Moment
) -> None:
    heard: list[object] = []
    with repo.changes.listening(heard.append):
        for operation, work in (("PutObject", write(repo, b"value")), ("DeleteObject", repo.delete("job"))):
            with held(client, operation, moment) as request:
                task = asyncio.create_task(work)
                async with asyncio.timeout(20):
                    await request.reached.wait()
                    task.cancel()
                    await asyncio.sleep(0)
                    request.go_on.set()
                    with pytest.raises(asyncio.CancelledError):
                        await task
    assert heard == [Added("job"), Removed("job")]
    assert await stored(client, repo.bucket) is None


async def test_a_second_cancellation_gives_up_at_once_and_leaves_the_earlier_value(
    repo: S3BucketRepository, client: S3Client
) -> None:
    await client.put_object(Bucket=repo.bucket, Key="job", Body=b"earlier")
    for operation, value in (("PutObject", b"value"), ("CompleteMultipartUpload", LARGE)):
        with held(client, operation, "before-send") as request:
            task = asyncio.create_task(write(repo, value))
            async with asyncio.timeout(20):
                await request.reached.wait()
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert await stored(client, repo.bucket) == b"earlier"
        assert await uploads(client, repo.bucket) == []


async def test_an_aborted_upload_leaves_no_upload_behind(repo: S3BucketRepository, client: S3Client) -> None:
    stream = await repo.open("job", "wb")
    await stream.write(LARGE)
    assert await uploads(client, repo.bucket) == ["job"]
    with recorded(client) as sent:
        await stream.abort()
        await stream.abort()
        await stream.close()
    assert sent == ["AbortMultipartUpload"]
    assert await uploads(client, repo.bucket) == []
    assert await stored(client, repo.bucket) is None


async def test_a_cancelled_abort_still_aborts(repo: S3BucketRepository, client: S3Client) -> None:
    stream = await repo.open("job", "wb")
    await stream.write(LARGE)
    with held(client, "AbortMultipartUpload", "before-send") as request:
        task = asyncio.create_task(stream.abort())
        async with asyncio.timeout(20):
            await request.reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            request.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert await uploads(client, repo.bucket) == []


@pytest.mark.parametrize("cancellations", [1, 2])
async def test_a_store_that_does_not_answer_cannot_hold_a_cancelled_task_for_long(
    repo: S3BucketRepository, client: S3Client, cancellations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "GRACE", 0.05 if cancellations == 1 else 60)
    stream = await repo.open("job", "wb")
    await stream.write(LARGE)
    with held(client, "AbortMultipartUpload", "before-send") as request:
        task = asyncio.create_task(stream.abort())
        async with asyncio.timeout(20):
            await request.reached.wait()
            for _ in range(cancellations):
                task.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_an_abort_that_fails_is_logged_and_hides_nothing(
    repo: S3BucketRepository, client: S3Client, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the network is gone")

    client.meta.events.register("before-send.s3.AbortMultipartUpload", fail)

    async def leave() -> None:
        async with await repo.open("job", "wb") as stream:
            await stream.write(LARGE)
            raise ZeroDivisionError

    with caplog.at_level(logging.WARNING, "pydatatask.repository"), pytest.raises(ZeroDivisionError):
        await leave()
    (record,) = caplog.records
    assert repo.bucket in record.getMessage()
    assert record.exc_info is not None
    assert await stored(client, repo.bucket) is None


@pytest.fixture
async def hasty(make_client: MakeClient) -> AsyncIterator[S3Client]:
    """A client that tries once."""
    async with make_client(config=AioConfig(retries={"max_attempts": 0})) as client:
        yield client


async def abort_all(client: S3Client, bucket: str) -> None:
    for upload in (await client.list_multipart_uploads(Bucket=bucket))["Uploads"]:
        await client.abort_multipart_upload(Bucket=bucket, Key="job", UploadId=upload["UploadId"])


async def test_a_writer_whose_write_failed_can_only_be_aborted(hasty: S3Client, bucket: str) -> None:
    repo = S3BucketRepository(lambda: hasty, bucket)
    stream = await repo.open("job", "wb")
    await stream.write(LARGE)
    await abort_all(hasty, bucket)
    with pytest.raises(StoreUnavailableError, match=f"Cannot write job 'job' in S3 bucket '{bucket}'"):
        await stream.write(LARGE)
    with pytest.raises(ValueError, match="failed before"):
        await stream.write(b"more")
    with pytest.raises(ValueError, match="nothing was published"):
        await stream.close()
    await stream.close()
    assert await stored(hasty, bucket) is None
    assert await uploads(hasty, bucket) == []


async def test_a_close_that_fails_publishes_nothing(hasty: S3Client, bucket: str) -> None:
    repo = S3BucketRepository(lambda: hasty, bucket)
    heard: list[object] = []
    stream = await repo.open("job", "wb")
    await stream.write(LARGE)
    with repo.changes.listening(heard.append), held(hasty, "CompleteMultipartUpload", "before-send") as request:
        closing = asyncio.create_task(stream.close())
        async with asyncio.timeout(20):
            await request.reached.wait()
            await abort_all(hasty, bucket)
            request.go_on.set()
            with pytest.raises(StoreUnavailableError, match="Cannot write job 'job'"):
                await closing
        await stream.close()
    assert await stored(hasty, bucket) is None
    assert heard == []


async def test_a_value_of_too_many_parts_is_refused(
    repo: S3BucketRepository, client: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_PARTS", 1)
    with pytest.raises(StoreFullError, match="larger"):
        await write(repo, LARGE)
    assert await uploads(client, repo.bucket) == []
    assert await stored(client, repo.bucket) is None


def test_all_parts_together_hold_five_tebibytes() -> None:
    sizes = [part_size(number) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= 5 * 1024**4
    assert sizes == sorted(sizes)
    assert min(sizes) >= 8 * MIB
    assert max(sizes) <= 5 * 1024**3
    assert max(sizes[:1000]) < 9 * MIB, "parts must stay small for all but huge values"


def test_our_parts_are_told_from_others() -> None:
    full = [(number, part_size(number)) for number in range(1, 1005)]
    assert is_ours(full)
    assert is_ours(full[:1])
    assert is_ours([*full[:2], (3, 17)])
    assert not is_ours([])
    assert not is_ours([(1, 8 * MIB), (2, 8 * MIB)])
    assert not is_ours([(1, 100)])
    assert not is_ours(full[1:])
    assert not is_ours([full[0], full[2]])
    assert not is_ours([full[0], (2, 17), (3, 17)])
    assert not is_ours([full[0], (2, part_size(2) + 1)])
