"""A namespace of a real cluster for each test, and a way into it that shares no code with ours."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from k3s import Cluster, cluster_of_session
from namespaces import Namespace, fresh_namespace
from pydatatask_core.testing.blocking import Allowances, no_blocking
from pydatatask_exec_kubernetes import PodManager

__all__ = ["cluster", "manager", "may_block", "namespace", "no_blocking"]


@pytest.fixture(scope="session")
def may_block() -> Allowances:
    """The SDK reads its files on a loop of its own, in a worker thread."""
    return {"pydatatask_exec_kubernetes/_client.py": ("_default",)}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of_session(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[Namespace]:
    async with fresh_namespace(cluster) as found:
        yield found


@pytest.fixture
async def manager(namespace: Namespace) -> AsyncIterator[PodManager]:
    async with PodManager("app", namespace.name) as found:
        yield found
