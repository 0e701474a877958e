"""What the metadata repositories promise beyond the conformance suite: the number of requests, and ``create``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydatatask_core.errors import MalformedValueError, StoreUnavailableError
from pydatatask_core.repository.changes import Added
from pydatatask_repos_s3 import JsonMetadataS3Repository, YamlMetadataS3Repository
from s3_proxy import Fault, FaultyProxy
from s3_requests import recorded
from s3_server import MakeClient, Server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Both = YamlMetadataS3Repository | JsonMetadataS3Repository


@pytest.fixture(params=[YamlMetadataS3Repository, JsonMetadataS3Repository])
def repo(client: S3Client, bucket: str, request: pytest.FixtureRequest) -> Both:
    kind: type[Both] = request.param
    return kind(lambda: client, bucket)


async def test_info_and_dump_are_one_request_each(repo: Both, client: S3Client) -> None:
    data = {"when": datetime(2024, 5, 1, tzinfo=UTC), "bytes": b"\0", "list": [1, 2.5, None, "é"]}
    with recorded(client) as sent:
        assert await repo.info("job") == {}
        await repo.dump("job", data)
        assert await repo.info("job") == data
    assert sent == ["GetObject", "PutObject", "GetObject"]
    head = await client.head_object(Bucket=repo.bucket, Key=repo.object_name("job"))
    assert head["ContentType"] == repo.mimetype


async def test_each_format_has_its_own_keys(client: S3Client, bucket: str) -> None:
    yaml, json = (kind(lambda: client, bucket) for kind in (YamlMetadataS3Repository, JsonMetadataS3Repository))
    await yaml.dump("job", {"a": 1})
    await json.dump("job", {"a": 2})
    assert await yaml.info_all() == {"job": {"a": 1}}
    assert await json.info_all() == {"job": {"a": 2}}
    raw = await client.get_object(Bucket=bucket, Key="job.json")
    assert await raw["Body"].read() == b'{"a": 2}\n'


async def test_info_all_asks_for_sixteen_values_at_a_time(client: S3Client, bucket: str, server: Server) -> None:
    repo = YamlMetadataS3Repository(lambda: client, bucket)
    await asyncio.to_thread(server.fill, bucket, [repo.object_name(f"job{n}") for n in range(50)], b"a: 1\n")
    running = most = 0

    async def begin(**_: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)

    def end(**_: object) -> None:
        nonlocal running
        running -= 1

    client.meta.events.register("before-send.s3.GetObject", begin)
    client.meta.events.register("after-call.s3.GetObject", end)
    with recorded(client) as sent:
        assert await repo.info_all() == {f"job{n}": {"a": 1} for n in range(50)}
    assert sorted(sent) == ["GetObject"] * 50 + ["ListObjectsV2"]
    assert most == 16


async def test_create_makes_a_job_once(repo: Both, client: S3Client) -> None:
    heard: list[object] = []
    with repo.changes.listening(heard.append), recorded(client) as sent:
        assert await repo.create("job", {"holder": 1}) is True
        assert await repo.create("job", {"holder": 1}) is False
    assert heard == [Added("job")]
    assert sent == ["PutObject", "PutObject", "HeadObject"]
    assert await repo.info("job") == {"holder": 1}
    await repo.delete("job")
    assert await repo.create("job", {"holder": 2}) is True


async def test_of_many_that_create_a_job_one_does(repo: Both) -> None:
    won = await asyncio.gather(*(repo.create("job", {"holder": n}) for n in range(8)))
    assert won.count(True) == 1
    assert await repo.info("job") == {"holder": won.index(True)}


async def test_create_refuses_what_cannot_be_stored(repo: Both) -> None:
    with pytest.raises(MalformedValueError):
        await repo.create("job", {"no": object()})
    assert not await repo.contains("job")


@pytest.mark.parametrize("taken", [False, True])
async def test_a_create_whose_answer_was_lost_asks_what_is_stored(
    client: S3Client, bucket: str, server: Server, make_client: MakeClient, taken: bool
) -> None:
    if taken:
        await client.put_object(Bucket=bucket, Key="job.yaml", Body=b"holder: me\n")
    async with FaultyProxy(server.port) as proxy, make_client(endpoint_url=proxy.url) as through:
        proxy.faults.append(Fault(0, "lose"))
        assert await YamlMetadataS3Repository(lambda: through, bucket).create("job", {"holder": "me"}) is not taken
        assert proxy.accepted == 3


async def test_a_broken_store_is_no_absent_job(client: S3Client, bucket: str) -> None:
    repo = YamlMetadataS3Repository(lambda: client, bucket)
    await client.delete_bucket(Bucket=bucket)
    for verb in (repo.info("job"), repo.info_all(), repo.create("job", {})):
        with pytest.raises(StoreUnavailableError):
            await verb
