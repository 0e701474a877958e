"""The Docker repository keeps every promise that all repositories make, on a real registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydatatask_core.testing import RepositoryTests
from pydatatask_repos_docker import DockerRepository, RegistryClient
from registry import BackDoor, Registry
from typing_extensions import override

# Making a client for each of so many tests would take longer than the tests.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[tuple[RegistryClient, aiohttp.ClientSession]]:
    async with RegistryClient(tls=False) as client, aiohttp.ClientSession() as http:
        yield client, http


class TestTags(RepositoryTests[DockerRepository]):
    absent_info = "given"
    crosses_loops = False
    # Others cannot be tags.
    foreign_keys = ("trailing.", "a" * 64, "_under", "_")
    client: RegistryClient
    back_door: BackDoor

    @pytest.fixture
    def repo(
        self, shared: tuple[RegistryClient, aiohttp.ClientSession], registry: Registry, name: str
    ) -> DockerRepository:
        self.client, http = shared
        self.back_door = BackDoor(http, registry.domain, name)
        return DockerRepository(self.connect, registry.domain, name)

    def connect(self) -> RegistryClient:
        return self.client

    @override
    async def twin(self, repo: DockerRepository) -> DockerRepository:
        return DockerRepository(self.connect, repo.domain, repo.repository)

    @override
    async def peek(self, repo: DockerRepository, job: str) -> bytes | None:
        return await self.back_door.pull(job)

    @override
    async def poke(self, repo: DockerRepository, job: str, value: Any) -> None:
        await self.back_door.push(job, value)

    @override
    async def poke_raw(self, repo: DockerRepository, key: str, raw: Any) -> None:
        await self.back_door.push(key, raw)

    @override
    async def fill(self, repo: DockerRepository, jobs: Iterable[str]) -> set[str]:
        todo = set(jobs)
        await self.back_door.push_all(todo, self.values[0])
        return todo
