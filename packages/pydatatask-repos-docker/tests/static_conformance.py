"""What the Docker repository claims to be, and which clients it takes, for the type checker to see. Nothing runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import assert_type

from pydatatask_core.repository.protocols import CanContain, CanDelete, CanInfo, CanList, CanWatch, Repository
from pydatatask_core.session import Session
from pydatatask_repos_docker import DockerRepository, ImageNames, RegistryClient


def claims(repo: DockerRepository) -> None:
    _base: Repository = repo
    _list: CanList = repo
    _contain: CanContain = repo
    _delete: CanDelete = repo
    _info: CanInfo = repo
    _watch: CanWatch = repo


async def types(repo: DockerRepository) -> None:
    assert_type(await repo.info("job"), ImageNames)
    assert_type(await repo.contains("job"), bool)
    assert_type(repo.__aiter__(), AsyncIterator[str])


class EarlierClient:
    """As another library has it."""

    credentials: dict[str, str]


def clients(session: Session, earlier: EarlierClient) -> None:
    async def factory() -> AsyncGenerator[RegistryClient, None]:
        async with RegistryClient("user", "password") as client:
            yield client

    DockerRepository(session.resource(factory), "docker.io", "team/app")
