"""A namespace of a real cluster for each test, and a way into it that shares no code with ours."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from namespaces import Namespace, fresh_namespace
from pydatatask_core.testing.blocking import Allowances, no_blocking
from pydatatask_exec_kubernetes import PodManager

__all__ = ["manager", "may_block", "namespace", "no_blocking"]


@pytest.fixture(scope="session")
def may_block() -> Allowances:
    """The SDK reads its files on a loop of its own, in a worker thread."""
    return {"pydatatask_exec_kubernetes/_client.py": ("_default",)}


@pytest.fixture
async def namespace() -> AsyncIterator[Namespace]:
    async with fresh_namespace() as found:
        yield found


@pytest.fixture
async def manager(namespace: Namespace) -> AsyncIterator[PodManager]:
    async with PodManager("app", namespace.name) as found:
        yield found
