"""A machine over SSH keeps the promises of a host, with Debian's tools and with busybox alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydatatask_core.testing.hosts import ProcessManagerTests
from pydatatask_exec_ssh import SSHLinuxManager
from ssh_server import USER, SSHServer
from typing_extensions import override


class TestSSHLinuxManager(ProcessManagerTests):
    machine: SSHServer

    @pytest.fixture(autouse=True)
    def _machine(self, server: SSHServer) -> None:
        self.machine = server

    @override
    async def on_host(self, program: str, *arguments: str, as_root: bool = False) -> str:
        user = "root" if as_root else USER
        return await asyncio.to_thread(self.machine.run, "sh", "-c", program, "sh", *arguments, user=user)


@pytest.mark.slow
class TestBusybox(ProcessManagerTests):
    machine: SSHServer

    @pytest.fixture(autouse=True)
    def _machine(self, busybox: SSHServer) -> None:
        self.machine = busybox

    @pytest.fixture
    async def manager(self, busybox: SSHServer, base: str) -> AsyncIterator[SSHLinuxManager]:
        async with SSHLinuxManager("app", busybox.connect, base) as manager:
            yield manager

    @pytest.fixture
    async def twin(self, busybox: SSHServer, base: str) -> AsyncIterator[SSHLinuxManager]:
        async with SSHLinuxManager("app", busybox.connect, base) as manager:
            yield manager

    @override
    async def on_host(self, program: str, *arguments: str, as_root: bool = False) -> str:
        user = "root" if as_root else USER
        return await asyncio.to_thread(self.machine.run, "sh", "-c", program, "sh", *arguments, user=user)
