"""What reading promises beyond the conformance suite: it survives broken connections, and never mixes two values."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_repos_s3 import S3BucketRepository, reader
from s3_proxy import Fault, FaultyProxy
from s3_server import MakeClient, Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.slow

VALUE = random.Random(1).randbytes(600_000)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def repo(
    client: S3Client, bucket: str, proxy: FaultyProxy, make_client: MakeClient
) -> AsyncIterator[S3BucketRepository]:
    """Through the proxy; holds one job."""
    await client.put_object(Bucket=bucket, Key="job", Body=VALUE)
    async with make_client(endpoint_url=proxy.url) as through:
        yield S3BucketRepository(lambda: through, bucket)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "PAUSES", (0.0, 0.0))


@pytest.mark.parametrize("n", [-1, 1000, 70_000, len(VALUE)])
async def test_a_connection_cut_in_the_body_is_resumed(repo: S3BucketRepository, proxy: FaultyProxy, n: int) -> None:
    proxy.faults.extend([Fault(0), Fault(100_000), Fault(1), Fault(300_000)])
    found = bytearray()
    async with await repo.open("job", "rb") as stream:
        while part := await stream.read(n):
            found += part
    assert found == VALUE
    assert proxy.accepted == 5


async def test_text_is_resumed_in_the_middle_of_a_character(
    repo: S3BucketRepository, client: S3Client, proxy: FaultyProxy
) -> None:
    text = "€" * 1000
    await client.put_object(Bucket=repo.bucket, Key="job", Body=text.encode())
    proxy.faults.append(Fault(1000))
    async with await repo.open("job") as stream:
        assert await stream.read() == text


async def replace(client: S3Client, bucket: str) -> None:
    await client.put_object(Bucket=bucket, Key="job", Body=VALUE[::-1])


async def delete(client: S3Client, bucket: str) -> None:
    await client.delete_object(Bucket=bucket, Key="job")


@pytest.mark.parametrize(("change", "word"), [(replace, "replaced"), (delete, "deleted")])
async def test_a_value_that_changed_meanwhile_is_not_resumed(
    repo: S3BucketRepository,
    client: S3Client,
    proxy: FaultyProxy,
    change: Callable[[S3Client, str], Awaitable[None]],
    word: str,
) -> None:
    proxy.faults.append(Fault(400_000))
    async with await repo.open("job", "rb") as stream:
        assert await stream.read(100_000) == VALUE[:100_000]
        await change(client, repo.bucket)
        with pytest.raises(StoreUnavailableError, match=f"job 'job'.*{repo.bucket}.*{word} meanwhile") as caught:
            await stream.read()
    assert caught.value.__cause__ is not None


async def test_a_connection_that_breaks_again_and_again_is_given_up(
    repo: S3BucketRepository, proxy: FaultyProxy, impatient: None
) -> None:
    proxy.faults.extend([Fault(10), Fault(0), Fault(0)])
    async with await repo.open("job", "rb") as stream:
        with pytest.raises(StoreUnavailableError, match="broke after 10 of 600000 bytes") as caught:
            await stream.read()
        assert caught.value.__cause__ is not None
        # What came is not lost, and the network may be better now.
        assert await stream.read() == VALUE


async def test_bytes_that_were_spoiled_on_the_way_are_an_error(repo: S3BucketRepository, proxy: FaultyProxy) -> None:
    async with await repo.open("job", "wb") as stream:
        await stream.write(VALUE)
    proxy.faults.append(Fault(5000, "flip"))
    async with await repo.open("job", "rb") as spoiled:
        with pytest.raises(StoreUnavailableError, match="not the bytes that were stored"):
            await spoiled.read()


async def test_a_cancelled_read_loses_nothing(repo: S3BucketRepository, proxy: FaultyProxy) -> None:
    fault = Fault(1500, "hold")
    proxy.faults.append(fault)
    async with await repo.open("job", "rb") as stream:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.read(2000), 0.05)
        assert await stream.read(1000) == VALUE[:1000]
        fault.go_on.set()
        assert await stream.read(1000) == VALUE[1000:2000]
        assert await stream.read() == VALUE[2000:]


async def test_a_read_gives_as_many_bytes_as_asked_for(repo: S3BucketRepository) -> None:
    async with await repo.open("job", "rb") as stream:
        assert len(await stream.read(500_000)) == 500_000
        assert len(await stream.read(500_000)) == 100_000
        assert await stream.read(500_000) == b""


async def test_leaving_early_reads_no_more_than_needed(repo: S3BucketRepository, proxy: FaultyProxy) -> None:
    fault = Fault(200_000, "hold")
    proxy.faults.append(fault)
    async with asyncio.timeout(60):
        async with await repo.open("job", "rb") as stream:
            assert await stream.read(10) == VALUE[:10]
        assert await repo.contains("job")
