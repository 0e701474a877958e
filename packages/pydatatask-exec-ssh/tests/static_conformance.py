"""What the manager of SSH hosts claims to be, and what connections it takes, for the type checker. Nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncssh
from pydatatask_core import ProcessManager, ProcessTask, Resources, Session
from pydatatask_core.repository.memory import InProcessMetadataRepository
from pydatatask_exec_ssh import SSHLinuxManager


def claims(manager: SSHLinuxManager) -> None:
    _manager: ProcessManager = manager


def connections(session: Session, live: asyncssh.SSHClientConnection) -> None:
    @session.resource
    async def ssh() -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with asyncssh.connect("host") as connection:
            yield connection

    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect("host")

    SSHLinuxManager("app", ssh)
    SSHLinuxManager("app", connect)
    SSHLinuxManager("app", lambda: asyncssh.connect("host"))
    SSHLinuxManager("app", lambda: live, "/scratch/runs", channels=10, keepalive=None)


def tasks(session: Session) -> None:
    @session.resource
    async def machine() -> AsyncIterator[SSHLinuxManager]:
        yield SSHLinuxManager("app", lambda: asyncssh.connect("host"))

    ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), "true")
