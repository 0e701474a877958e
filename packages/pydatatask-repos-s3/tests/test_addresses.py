"""Names and constructors: what a bucket, a prefix and a suffix mean, and what is told to others."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import attrs
import pydatatask_repos_s3
import pytest
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.session import Session
from pydatatask_repos_s3 import (
    JsonMetadataS3Repository,
    S3BucketInfo,
    S3BucketRepository,
    YamlMetadataS3Repository,
)
from s3_server import MakeClient, Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


def lake() -> S3Client:
    raise AssertionError("nothing is connected yet")


@pytest.mark.parametrize(
    ("bucket", "prefix", "wanted"),
    [
        ("books", "", ("books", "")),
        ("books/", "", ("books", "")),
        ("lake/raw/", "", ("lake", "raw/")),
        ("lake/raw", "", ("lake", "raw")),
        ("lake", "raw/", ("lake", "raw/")),
        ("lake/raw/", "2024/", ("lake", "raw/2024/")),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint:mine/raw/", "", None),
    ],
)
def test_a_bucket_may_be_followed_by_a_prefix(bucket: str, prefix: str, wanted: tuple[str, str] | None) -> None:
    repo = S3BucketRepository(lake, bucket, ".txt", prefix=prefix)
    assert (repo.bucket, repo.prefix) == (wanted or ("arn:aws:s3:eu-west-1:123456789012:accesspoint:mine", "raw/"))
    assert repo.object_name("job") == f"{repo.prefix}job.txt"


@pytest.mark.parametrize("bucket", ["", "/raw/", "s3://books/", "a b", "b\u00fccher"])
def test_what_names_no_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        S3BucketRepository(lake, bucket)
    assert repr(bucket) in str(caught.value)


@pytest.mark.parametrize("kind", [S3BucketRepository, YamlMetadataS3Repository, JsonMetadataS3Repository])
def test_a_suffix_that_looks_like_a_prefix_is_refused_and_names_the_fix(kind: type[S3BucketRepository]) -> None:
    with pytest.raises(ConfigurationError, match="prefix='raw/'"):
        kind(lake, "lake", "raw/")


@pytest.mark.parametrize(
    ("kind", "suffix", "mimetype"),
    [
        (S3BucketRepository, "", "application/octet-stream"),
        (YamlMetadataS3Repository, ".yaml", "text/yaml"),
        (JsonMetadataS3Repository, ".json", "application/json"),
    ],
)
def test_the_constructors_are_as_designed(kind: type[S3BucketRepository], suffix: str, mimetype: str) -> None:
    parameters = inspect.signature(kind).parameters
    assert list(parameters) == ["client", "bucket", "suffix", "prefix", "mimetype", "incluster_endpoint"]
    assert [name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY] == list(parameters)[3:]
    repo = kind(lake, "lake")
    assert (repo.suffix, repo.mimetype) == (suffix, mimetype)


async def test_info_is_the_address_whether_the_job_is_there_or_not(client: S3Client, server: Server) -> None:
    info = await S3BucketRepository(lambda: client, "lake/raw/", ".txt").info("job")
    assert info == S3BucketInfo(
        endpoint=server.url, uri="s3://lake/raw/job.txt", bucket="lake", prefix="raw/", suffix=".txt"
    )
    assert str(info) == f"{info}" == "s3://lake/raw/job.txt"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        info.uri = "elsewhere"  # type: ignore[misc]  # what the test is about


async def test_info_gives_the_endpoint_that_tasks_use() -> None:
    repo = S3BucketRepository(lake, "lake", incluster_endpoint="http://minio.svc:9000")
    assert (await repo.info("job")).endpoint == "http://minio.svc:9000"


def test_the_location_is_known_before_anything_is_open() -> None:
    repo = S3BucketRepository(lake, "lake/raw/", ".txt")
    assert repo.location == "s3:lake/lake/raw/*.txt"
    assert repo.location == S3BucketRepository(lake, "lake", ".txt", prefix="raw/").location
    others = [
        S3BucketRepository(lake, "pond/raw/", ".txt"),
        S3BucketRepository(lake, "lake/raw", ".txt"),
        S3BucketRepository(lake, "lake/raw/", ".csv"),
    ]
    assert len({repo.location, *(other.location for other in others)}) == 4


def test_clients_of_one_name_are_told_apart_in_order() -> None:
    def named() -> S3Client:
        return lake()

    first = named

    def other() -> S3Client:
        return lake()

    other.__qualname__ = first.__qualname__
    one, two = S3BucketRepository(first, "lake"), S3BucketRepository(other, "lake")
    assert one.location != two.location
    assert two.location == one.location.replace("/lake", "#2/lake")
    assert S3BucketRepository(other, "lake").location == two.location


async def test_a_session_resource_is_all_it_takes(make_client: MakeClient, bucket_name: str) -> None:
    session = Session()

    @session.resource
    async def store() -> AsyncGenerator[S3Client, None]:
        async with make_client() as client:
            yield client

    repo = S3BucketRepository(store, f"{bucket_name}/", ".txt")
    assert repo.resources == frozenset({store})
    assert repo.change_source is ChangeSource.POLLED
    async with session:
        await repo.validate()
        async with await repo.open("job", "w") as stream:
            await stream.write("text")
        assert [job async for job in repo] == ["job"]


def test_the_repr_says_where_and_shows_no_secret() -> None:
    assert repr(S3BucketRepository(lake, "lake/raw/", ".txt")) == "<S3BucketRepository s3://lake/raw/*.txt>"
    assert repr(YamlMetadataS3Repository(lake, "lake")) == "<YamlMetadataS3Repository s3://lake/*.yaml>"


async def test_an_endpoint_is_shown_without_user_and_password(make_client: MakeClient) -> None:
    async with make_client(endpoint_url="http://user:password@127.0.0.1:1/") as client:
        info = await S3BucketRepository(lambda: client, "lake").info("job")
    assert info.endpoint == "http://127.0.0.1:1/"


def test_the_door_is_sorted_and_complete() -> None:
    names = pydatatask_repos_s3.__all__
    assert list(names) == sorted(names)
    assert all(hasattr(pydatatask_repos_s3, name) for name in names)
    assert issubclass(S3BucketRepository, Repository)
