"""What listing costs and what it leaves out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from pydatatask_repos_s3 import S3BucketRepository
from s3_requests import recorded
from s3_server import Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


@pytest.fixture
def repo(client: S3Client, bucket: str) -> S3BucketRepository:
    return S3BucketRepository(lambda: client, f"{bucket}/raw/", ".txt")


async def listed(repo: S3BucketRepository) -> list[str]:
    return [job async for job in repo]


async def fill(server: Server, repo: S3BucketRepository, keys: list[str]) -> None:
    await asyncio.to_thread(server.fill, repo.bucket, keys)


@pytest.mark.slow
async def test_a_listing_is_one_request_per_thousand_keys(
    repo: S3BucketRepository, client: S3Client, server: Server
) -> None:
    with recorded(client) as sent:
        assert await listed(repo) == []
    assert sent == ["ListObjectsV2"]
    jobs = [f"job{n}" for n in range(2001)]
    await fill(server, repo, [repo.object_name(job) for job in jobs])
    with recorded(client) as sent:
        pages = [page async for page in repo.pages()]
    assert sent == ["ListObjectsV2"] * 3
    assert [len(page) for page in pages] == [1000, 1000, 1]
    assert sorted(job for page in pages for job in page) == sorted(jobs)


async def test_versions_come_from_the_same_listing(repo: S3BucketRepository, client: S3Client, server: Server) -> None:
    await fill(server, repo, [repo.object_name(job) for job in ("a", "b")])
    await client.put_object(Bucket=repo.bucket, Key=repo.object_name("c"), Body=b"other")
    with recorded(client) as sent:
        versions = dict([pair async for page in repo.versions() for pair in page])
    assert sent == ["ListObjectsV2"]
    assert versions["a"] == versions["b"] != versions["c"]
    assert all(versions.values())


async def test_a_listing_that_is_left_asks_for_no_more(
    repo: S3BucketRepository, client: S3Client, server: Server
) -> None:
    await fill(server, repo, [repo.object_name(f"job{n}") for n in range(1001)])
    with recorded(client) as sent:
        async for _ in repo:
            break
    assert sent == ["ListObjectsV2"]


@pytest.mark.parametrize("value", [b"", b"x", bytes(100_000)])
async def test_contains_is_one_request(repo: S3BucketRepository, client: S3Client, value: bytes) -> None:
    with recorded(client) as sent:
        assert not await repo.contains("job")
    assert len(sent) == 1
    await client.put_object(Bucket=repo.bucket, Key=repo.object_name("job"), Body=value)
    with recorded(client) as sent:
        assert await repo.contains("job")
    assert len(sent) == 1


async def test_contains_of_an_archived_object_is_true(repo: S3BucketRepository, client: S3Client) -> None:
    await client.put_object(Bucket=repo.bucket, Key=repo.object_name("job"), Body=b"x", StorageClass="GLACIER")
    assert await repo.contains("job")


async def test_only_keys_between_prefix_and_suffix_are_jobs(
    repo: S3BucketRepository, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ["raw/job.txt", "raw/other.csv", "raw/.txt.txt", "job.txt", "row/job.txt", "raw", "raw/", "raw/.tx"]
    await fill(server, repo, keys)
    with caplog.at_level(logging.WARNING, "pydatatask.repository"):
        assert await listed(repo) == ["job"]
    assert [name async for name in repo.unfiltered_iter()] == [".txt", "job"]
    (record,) = caplog.records
    assert "skipped 1 stored keys" in record.getMessage()


async def test_prefix_and_suffix_do_not_overlap(client: S3Client, bucket: str, server: Server) -> None:
    repo = S3BucketRepository(lambda: client, bucket, "ab", prefix="ab")
    await fill(server, repo, ["ab", "abab", "abxab", "aab"])
    assert await listed(repo) == ["x"]


async def test_a_folder_is_counted_once_and_never_listed(
    repo: S3BucketRepository, client: S3Client, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(server, repo, ["raw/job.txt", *(f"raw/deep/{n}.txt" for n in range(1500))])
    with recorded(client) as sent, caplog.at_level(logging.WARNING, "pydatatask.repository"):
        assert await listed(repo) == ["job"]
        assert await listed(repo) == ["job"]
    assert sent == ["ListObjectsV2"] * 2
    (record,) = caplog.records
    assert "skipped 1 stored keys" in record.getMessage()
    assert "'deep/'" in record.getMessage()


async def test_a_suffix_may_be_a_path(client: S3Client, bucket: str, server: Server) -> None:
    repo = S3BucketRepository(lambda: client, bucket, "/report.txt", prefix="runs/")
    await fill(server, repo, ["runs/a/report.txt", "runs/b/report.txt", "runs/b/other.txt", "runs/b/c/report.txt"])
    assert await listed(repo) == ["a", "b"]
    assert await repo.contains("b")


async def test_keys_that_need_quoting_come_back_as_they_are(client: S3Client, bucket: str, server: Server) -> None:
    repo = S3BucketRepository(lambda: client, bucket, " +%é.txt", prefix="a b/&=#")
    async with await repo.open("job", "w") as stream:
        await stream.write("text")
    assert await listed(repo) == ["job"]
    assert await repo.contains("job")
    async with await repo.open("job") as reader:
        assert await reader.read() == "text"
    await repo.delete("job")
    assert await listed(repo) == []
