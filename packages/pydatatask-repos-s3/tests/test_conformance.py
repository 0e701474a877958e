"""The S3 repositories keep every promise that all repositories make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import pytest_asyncio
import yaml
from pydatatask_core.testing import BlobRepositoryTests, CreatingRepositoryTests
from pydatatask_core.testing.suite import Suite
from pydatatask_repos_s3 import S3BucketRepository, YamlMetadataS3Repository
from s3_server import MakeClient, Server
from typing_extensions import override

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

# Making a client for each of so many tests would take longer than the tests.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

S = TypeVar("S", bound=S3BucketRepository)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(make_client: MakeClient) -> AsyncIterator[S3Client]:
    async with make_client() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def bucket(client: S3Client, bucket_name: str) -> str:
    await client.create_bucket(Bucket=bucket_name)
    return bucket_name


class S3Suite(Suite[S]):
    """The back door: objects by the raw client."""

    crosses_loops = False
    client: S3Client
    server: Server

    @pytest.fixture(autouse=True)
    def _back_door(self, client: S3Client, server: Server) -> None:
        self.client = client
        self.server = server

    def connect(self) -> S3Client:
        return self.client

    def encoded(self, value: Any) -> bytes:
        raise NotImplementedError

    def decoded(self, raw: bytes) -> Any:
        raise NotImplementedError

    @override
    async def peek(self, repo: S, job: str) -> Any:
        try:
            answer = await self.client.get_object(Bucket=repo.bucket, Key=f"{repo.prefix}{job}{repo.suffix}")
        except self.client.exceptions.NoSuchKey:
            return None
        return self.decoded(await answer["Body"].read())

    @override
    async def poke(self, repo: S, job: str, value: Any) -> None:
        await self.poke_raw(repo, job, self.encoded(value))

    @override
    async def poke_raw(self, repo: S, key: str, raw: bytes) -> None:
        await self.client.put_object(Bucket=repo.bucket, Key=f"{repo.prefix}{key}{repo.suffix}", Body=raw)

    @override
    async def fill(self, repo: S, jobs: Iterable[str]) -> set[str]:
        todo = set(jobs)
        keys = [f"{repo.prefix}{job}{repo.suffix}" for job in todo]
        await asyncio.to_thread(self.server.fill, repo.bucket, keys, self.encoded(self.values[0]))
        return todo


class TestBlobs(S3Suite[S3BucketRepository], BlobRepositoryTests[S3BucketRepository]):
    foreign_keys = (*BlobRepositoryTests.foreign_keys, "deep/key")

    @pytest.fixture
    def repo(self, client: S3Client, bucket: str) -> S3BucketRepository:
        return S3BucketRepository(self.connect, f"{bucket}/some/prefix.", ".txt")

    @override
    async def twin(self, repo: S3BucketRepository) -> S3BucketRepository:
        return S3BucketRepository(self.connect, repo.bucket, repo.suffix, prefix=repo.prefix)

    @override
    def encoded(self, value: Any) -> bytes:
        assert isinstance(value, bytes)
        return value

    @override
    def decoded(self, raw: bytes) -> bytes:
        return raw


class TestYaml(S3Suite[YamlMetadataS3Repository], CreatingRepositoryTests[YamlMetadataS3Repository]):
    absent_info = "empty"
    # The codec is put to the full test where it is; here it is one request per value that counts.
    examples = 25

    @pytest.fixture
    def repo(self, client: S3Client, bucket: str) -> YamlMetadataS3Repository:
        return YamlMetadataS3Repository(self.connect, bucket)

    @override
    async def twin(self, repo: YamlMetadataS3Repository) -> YamlMetadataS3Repository:
        return YamlMetadataS3Repository(self.connect, repo.bucket)

    @override
    def encoded(self, value: Any) -> bytes:
        return yaml.safe_dump(value, encoding="utf-8")

    @override
    def decoded(self, raw: bytes) -> Any:
        return yaml.safe_load(raw)
