"""A store that cannot be used says so, tells the reasons apart, and never looks like an empty one."""

from __future__ import annotations

import socket
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig  # type: ignore[import-untyped]  # it has no type information
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # it has no type information
from pydatatask_core.errors import (
    ConfigurationError,
    MissingJobError,
    PydatataskError,
    SessionClosedError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)
from pydatatask_core.session import Session
from pydatatask_repos_s3 import S3BucketRepository, YamlMetadataS3Repository
from pydatatask_repos_s3._errors import translated
from s3_server import OWN, MakeClient, Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

pytestmark = pytest.mark.slow

SECRET = "a secret that no message may show"
ONCE = AioConfig(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=0.2)


async def listing(repo: S3BucketRepository) -> object:
    return [job async for job in repo]


async def keys(repo: S3BucketRepository) -> object:
    return [key async for key in repo.unfiltered_iter()]


async def versions(repo: S3BucketRepository) -> object:
    return [page async for page in repo.versions()]


async def reading(repo: S3BucketRepository) -> object:
    async with await repo.open("job", "rb") as stream:
        return await stream.read()


async def writing(repo: S3BucketRepository) -> object:
    async with await repo.open("job", "wb") as stream:
        return await stream.write(b"value")


async def uploading(repo: S3BucketRepository) -> object:
    async with await repo.open("job", "wb") as stream:
        return await stream.write(bytes(9 * 1024 * 1024))


VERBS: dict[str, Callable[[S3BucketRepository], Coroutine[Any, Any, object]]] = {
    "validate": lambda repo: repo.validate(),
    "iteration": listing,
    "unfiltered_iter": keys,
    "versions": versions,
    "contains": lambda repo: repo.contains("job"),
    "delete": lambda repo: repo.delete("job"),
    "open for reading": reading,
    "open for writing": writing,
    "a large write": uploading,
    "info": lambda repo: as_yaml(repo).info("job"),
    "info_all": lambda repo: as_yaml(repo).info_all(),
    "dump": lambda repo: as_yaml(repo).dump("job", {}),
    "create": lambda repo: as_yaml(repo).create("job", {}),
}
WITHOUT_BUCKET = {name: verb for name, verb in VERBS.items() if name != "validate"}


def as_yaml(repo: S3BucketRepository) -> YamlMetadataS3Repository:
    (client,) = repo.resources
    assert callable(client)
    return YamlMetadataS3Repository(client, repo.bucket)


async def refused(
    client: S3Client, bucket: str, verb: Callable[[S3BucketRepository], Coroutine[Any, Any, object]]
) -> PydatataskError:
    """Give the error that a verb ends with, having checked what all of them must be."""
    with pytest.raises(PydatataskError) as caught:
        await verb(S3BucketRepository(lambda: client, bucket))
    error = caught.value
    assert bucket in str(error)
    assert client.meta.endpoint_url in str(error)
    assert error.__cause__ is not None
    assert SECRET not in "".join(traceback.format_exception(error))
    return error


@pytest.mark.parametrize("verb", VERBS)
async def test_a_wrong_secret_is_a_credentials_error(strict_server: Server, make_client: MakeClient, verb: str) -> None:
    async with make_client(
        endpoint_url=strict_server.url, aws_access_key_id=strict_server.key, aws_secret_access_key=SECRET
    ) as client:
        error = await refused(client, f"{OWN}-bucket", VERBS[verb])
    assert type(error) is StoreCredentialsError
    assert "SignatureDoesNotMatch" in str(error)
    assert "Check the access key id and the secret access key" in str(error)


async def test_an_unknown_access_key_is_a_credentials_error(strict_server: Server, make_client: MakeClient) -> None:
    async with make_client(endpoint_url=strict_server.url, aws_secret_access_key=SECRET) as client:
        error = await refused(client, f"{OWN}-bucket", listing)
    assert type(error) is StoreCredentialsError
    assert "InvalidAccessKeyId" in str(error)


async def test_no_credentials_at_all_is_a_credentials_error(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with make_client(aws_access_key_id=None, aws_secret_access_key=None) as client:
        error = await refused(client, "bucket", listing)
    assert type(error) is StoreCredentialsError
    assert "AWS_ACCESS_KEY_ID" in str(error)


@pytest.mark.parametrize("verb", VERBS)
async def test_somebody_elses_bucket_is_a_permission_error(
    strict_server: Server, make_client: MakeClient, verb: str
) -> None:
    async with make_client(
        endpoint_url=strict_server.url,
        aws_access_key_id=strict_server.key,
        aws_secret_access_key=strict_server.secret,
    ) as client:
        error = await refused(client, "bucket-of-somebody-else", VERBS[verb])
    assert type(error) is StorePermissionError
    assert "AccessDenied" in str(error)
    assert "somebody else's" in str(error)


async def test_right_credentials_and_an_own_bucket_work(strict_server: Server, make_client: MakeClient) -> None:
    async with make_client(
        endpoint_url=strict_server.url,
        aws_access_key_id=strict_server.key,
        aws_secret_access_key=strict_server.secret,
    ) as client:
        repo = S3BucketRepository(lambda: client, f"{OWN}-good")
        await repo.validate()
        await writing(repo)
        await uploading(repo)
        assert await repo.contains("job")
        assert await reading(repo) == bytes(9 * 1024 * 1024)
        await repo.delete("job")
        assert await listing(repo) == []


@pytest.mark.parametrize("verb", VERBS)
async def test_an_unreachable_endpoint_is_an_unavailable_store(
    make_client: MakeClient, unused_tcp_port: int, verb: str
) -> None:
    async with make_client(endpoint_url=f"http://127.0.0.1:{unused_tcp_port}", config=ONCE) as client:
        error = await refused(client, "bucket", VERBS[verb])
    assert type(error) is StoreUnavailableError
    assert "does not answer" in str(error)
    assert "Check endpoint_url" in str(error)


async def test_an_endpoint_that_does_not_answer_is_an_unavailable_store(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with make_client(endpoint_url=url, config=ONCE) as client:
            error = await refused(client, "bucket", listing)
    assert type(error) is StoreUnavailableError
    assert "does not answer" in str(error)


@pytest.mark.parametrize("verb", WITHOUT_BUCKET)
async def test_a_missing_bucket_never_looks_like_an_empty_one(
    make_client: MakeClient, bucket_name: str, verb: str
) -> None:
    async with make_client() as client:
        error = await refused(client, bucket_name, WITHOUT_BUCKET[verb])
    assert type(error) is StoreUnavailableError
    assert "no such bucket" in str(error)
    assert "Opening the pipeline makes it" in str(error)


async def test_a_bucket_that_vanished_never_looks_like_an_empty_one(client: S3Client, bucket: str) -> None:
    repo = S3BucketRepository(lambda: client, bucket)
    assert not await repo.contains("job")
    await client.delete_bucket(Bucket=bucket)
    with pytest.raises(StoreUnavailableError):
        await repo.contains("job")


async def test_a_closed_session_is_named(make_client: MakeClient) -> None:
    session = Session()

    @session.resource
    async def lake() -> AsyncGenerator[S3Client, None]:
        async with make_client() as client:
            yield client

    repo = S3BucketRepository(lake, "bucket")
    for verb in VERBS.values():
        with pytest.raises(SessionClosedError, match="lake"):
            await verb(repo)


ANSWERS = [
    (404, "NoSuchKey", MissingJobError, "does not hold it"),
    (404, "NoSuchBucket", StoreUnavailableError, "no such bucket"),
    (404, "NoSuchUpload", StoreUnavailableError, "somebody aborted"),
    (404, "404", StoreUnavailableError, "the store failed"),
    (400, "ExpiredToken", StoreCredentialsError, "credentials"),
    (401, "Unauthorized", StoreCredentialsError, "credentials"),
    (403, "403", StorePermissionError, "does not permit"),
    (403, "RequestTimeTooSkewed", StoreUnavailableError, "Set the clock"),
    (403, "QuotaExceeded", StoreFullError, "no room"),
    (507, "XMinioStorageFull", StoreFullError, "no room"),
    (507, "Whatever", StoreFullError, "no room"),
    (400, "EntityTooLarge", StoreFullError, "larger"),
    (301, "PermanentRedirect", StoreUnavailableError, "region_name"),
    (400, "InvalidBucketName", ConfigurationError, "another name"),
    (503, "SlowDown", StoreUnavailableError, "Try again"),
    (200, "", StoreUnavailableError, "the store failed"),
]


@pytest.mark.parametrize(("status", "code", "kind", "text"), ANSWERS)
def test_answers_of_other_stores_are_told_apart(status: int, code: str, kind: type[PydatataskError], text: str) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    cause = ClientError(answer, "GetObject")
    with pytest.raises(PydatataskError) as caught, translated("read job 'x'", "lake", "https://user:pass@store:1/"):
        raise cause
    assert type(caught.value) is kind
    assert caught.value.__cause__ is cause
    assert "Cannot read job 'x' in S3 bucket 'lake' at https://store:1/: " in str(caught.value)
    assert text in str(caught.value)
