"""One registry for all tests, a repository for each. No test here may block the event loop from our code."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from pydatatask_core.testing.blocking import may_block, no_blocking

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from pydatatask_repos_docker import DockerRepository, RegistryClient
from registry import BackDoor, Registry, running

__all__ = ["back_door", "client", "may_block", "name", "no_blocking", "registry", "repo"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    with running() as registry:
        yield registry


@pytest.fixture
def name() -> str:
    """The name of a fresh repository."""
    return f"team/app{next(_numbers)}"


@pytest.fixture
async def client() -> AsyncIterator[RegistryClient]:
    async with RegistryClient(tls=False) as client:
        yield client


@pytest.fixture
def repo(client: RegistryClient, registry: Registry, name: str) -> DockerRepository:
    return DockerRepository(lambda: client, registry.domain, name)


@pytest.fixture
async def back_door(registry: Registry, name: str) -> AsyncIterator[BackDoor]:
    async with aiohttp.ClientSession() as http:
        yield BackDoor(http, registry.domain, name)
