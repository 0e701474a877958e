"""One machine for all tests, a folder for each. No test here may block the event loop from our code."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydatatask_core.testing.blocking import Allowances, no_blocking

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from pydatatask_exec_ssh import SSHLinuxManager
from ssh_server import SSHServer, busybox_only, ssh_server

__all__ = ["base", "busybox", "manager", "may_block", "no_blocking", "server", "twin"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def may_block() -> Allowances:
    """What reads keys and configuration is the user's choice, and is read before a connection is made."""
    return {"asyncssh/connection.py": ("prepare",), "asyncssh/misc.py": ("read_file",)}


@pytest.fixture(scope="session")
def server() -> Iterator[SSHServer]:
    with ssh_server() as server:
        yield server


@pytest.fixture(scope="session")
def busybox() -> Iterator[SSHServer]:
    """A machine with busybox and nothing else."""
    with ssh_server() as server:
        busybox_only(server)
        yield server


@pytest.fixture
def base() -> str:
    return f"/tmp/base{next(_numbers)}"


@pytest.fixture
async def manager(server: SSHServer, base: str) -> AsyncIterator[SSHLinuxManager]:
    async with SSHLinuxManager("app", server.connect, base) as manager:
        yield manager


@pytest.fixture
async def twin(server: SSHServer, base: str) -> AsyncIterator[SSHLinuxManager]:
    async with SSHLinuxManager("app", server.connect, base) as manager:
        yield manager
