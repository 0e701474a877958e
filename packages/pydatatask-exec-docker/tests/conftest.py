"""An app of its own on the Docker engine for each test, and a way into it that shares no code with ours."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

import aiodocker
from containers import App, fresh_app
from pydatatask_core.testing.blocking import may_block, no_blocking
from pydatatask_exec_docker import DockerManager

__all__ = ["app", "manager", "may_block", "no_blocking"]


@pytest.fixture
def app() -> Iterator[App]:
    with fresh_app() as found:
        yield found


@pytest.fixture
async def manager(app: App, tmp_path: Path) -> AsyncIterator[DockerManager]:
    async with aiodocker.Docker() as docker:
        yield DockerManager(app.name, docker, local_path=tmp_path / "outputs")
