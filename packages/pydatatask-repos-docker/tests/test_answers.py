"""A registry that fails in the middle has said neither that a tag is there nor that it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_repos_docker import DockerRepository, RegistryClient
from pydatatask_repos_docker.deleting import Mark, tombstone
from pydatatask_repos_docker.images import _tags_in
from scripted import Script, scripted


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted(tags={"job": "sha256:1"}) as script:
        yield script


@pytest.fixture
def repo(client: RegistryClient, script: Script) -> DockerRepository:
    return DockerRepository(lambda: client, script.domain, "team/app")


@pytest.mark.parametrize("status", [400, 500, 503])
async def test_a_tag_that_could_not_be_looked_at_is_neither_there_nor_absent(
    repo: DockerRepository, script: Script, status: int
) -> None:
    script.refusals = {"HEAD": (status, "")}
    for job in ("job", "absent"):
        with pytest.raises(StoreUnavailableError, match=str(status)):
            await repo.contains(job)
        with pytest.raises(StoreUnavailableError, match=str(status)):
            await repo.delete(job)
    with pytest.raises(StoreUnavailableError, match=str(status)):
        [page async for page in repo.versions()]
    assert script.tags == {"job": "sha256:1"}


async def test_what_may_be_a_tombstone_and_could_not_be_read_is_neither_a_job_nor_gone(
    repo: DockerRepository, script: Script
) -> None:
    script.manifests["sha256:1"] = tombstone(Mark.new("job", 0)).content
    assert not await repo.contains("job")
    script.refusals = {"GET": (500, "")}
    with pytest.raises(StoreUnavailableError, match="500"):
        await repo.contains("job")


async def test_a_list_of_tags_that_is_null_is_an_empty_one(repo: DockerRepository, script: Script) -> None:
    script.tags = {}
    assert [job async for job in repo] == []


@pytest.mark.parametrize("body", [b"[]", b'"tags"', b'{"tags": "job"}', b'{"tags": [1]}', b'{"tags": {}}', b"<html>"])
def test_what_is_no_list_of_tags_is_not_taken_for_one(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"list of tags|Expecting value"):
        _tags_in(body)
