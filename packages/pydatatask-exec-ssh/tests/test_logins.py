"""How one gets in: by password, by key, by a session's resource; and what is said where one does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncssh
import pytest
from pydatatask_core import (
    ConfigurationError,
    InProcessMetadataRepository,
    Pipeline,
    ProcessTask,
    Resources,
    Session,
    SessionClosedError,
    SiteCredentialsError,
    SiteUnavailableError,
)
from pydatatask_exec_ssh import SSHLinuxManager
from ssh_server import PASSWORD, USER, SSHServer


async def greeting(manager: SSHLinuxManager) -> str:
    async with manager:
        return await manager.sh("echo hello")


async def test_a_key_lets_in(server: SSHServer, base: str) -> None:
    manager = SSHLinuxManager("app", lambda: asyncssh.connect(**server.options()), base)
    assert await greeting(manager) == "hello\n"


async def test_a_password_lets_in(server: SSHServer, base: str) -> None:
    options = server.options(client_keys=None, password=PASSWORD)
    assert await greeting(SSHLinuxManager("app", lambda: asyncssh.connect(**options), base)) == "hello\n"


def another_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def host_key(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


REFUSALS: dict[str, tuple[Callable[[SSHServer], dict[str, Any]], str]] = {
    "a wrong password": (
        lambda server: server.options(client_keys=None, password="hunter2"),
        f"refuses the login .*user {USER} on host 127.0.0.1",
    ),
    "a wrong key": (
        lambda server: server.options(client_keys=[another_key()]),
        f"refuses the login .*user {USER} on host 127.0.0.1",
    ),
    "too many wrong keys": (
        lambda server: server.options(client_keys=[another_key() for _ in range(9)]),
        "refuses the login .*authentication failures",
    ),
    "an unknown user": (
        lambda server: server.options(username="nobody-here", password="hunter2"),
        "refuses the login .*user nobody-here on host 127.0.0.1",
    ),
    "another host key": (
        lambda server: server.options(known_hosts=server.known_hosts(host_key(another_key()))),
        "host key is not the one that is known .*host 127.0.0.1",
    ),
    "an unknown host": (
        lambda server: server.options(known_hosts=b""),
        "host key is not the one that is known .*host 127.0.0.1",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_is_told_as_one_and_no_secret_is_shown(server: SSHServer, base: str, refusal: str) -> None:
    options, said = REFUSALS[refusal]
    manager = SSHLinuxManager("app", lambda: asyncssh.connect(**options(server)), base)
    with pytest.raises(SiteCredentialsError, match=said) as caught:
        await greeting(manager)
    assert "hunter2" not in f"{caught.value} {manager!r}"


async def test_a_pipeline_that_is_refused_ends_at_once_and_knocks_once(server: SSHServer, base: str) -> None:
    attempts: list[float] = []

    async def ssh() -> asyncssh.SSHClientConnection:
        attempts.append(time.monotonic())
        return await server.connect(client_keys=[another_key()])

    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[SSHLinuxManager]:
        yield SSHLinuxManager("app", ssh, base)

    tasks = [
        ProcessTask(name, machine, None, Resources(), InProcessMetadataRepository(), "true", done=done)
        for name, done in (("one", InProcessMetadataRepository()), ("two", InProcessMetadataRepository()))
    ]
    for task in tasks:
        task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)
    async with asyncio.timeout(60), Pipeline(tasks, session) as pipeline:
        with pytest.raises(SiteCredentialsError, match=USER):
            await pipeline.run()
    assert len(attempts) == 1


async def test_a_server_that_refuses_us_is_not_stormed(server: SSHServer, base: str) -> None:
    attempts: list[float] = []

    async def ssh() -> asyncssh.SSHClientConnection:
        attempts.append(time.monotonic())
        return await server.connect(client_keys=[another_key()])

    async with SSHLinuxManager("app", ssh, base) as manager:
        began = time.monotonic()
        while time.monotonic() - began < 2:
            # Whoever asks before it is due is told the same.
            with pytest.raises(SiteCredentialsError, match=USER):
                await manager.sh("true")
            with pytest.raises(SiteCredentialsError, match=USER):
                async with manager.watch():
                    pass
            await asyncio.sleep(0.02)
    assert len(attempts) == 1


async def test_a_host_that_does_not_answer_is_named(base: str) -> None:
    async def ssh() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect("127.0.0.1", 1, config=None)

    with pytest.raises(SiteUnavailableError, match=r"log in on the host of .*ssh") as caught:
        await greeting(SSHLinuxManager("app", ssh, base))
    assert type(caught.value) is SiteUnavailableError


async def test_a_resource_of_a_session(server: SSHServer, base: str) -> None:
    session = Session()

    @session.resource
    async def ssh() -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with asyncssh.connect(**server.options()) as connection:
            yield connection

    manager = SSHLinuxManager("app", ssh, base)
    with pytest.raises(SessionClosedError, match="ssh"):
        await manager.sh("true")
    async with session:
        assert await greeting(manager) == "hello\n"
        assert not ssh().is_closed(), "the session's own connection was closed"
        # What was closed is opened again.
        assert await greeting(manager) == "hello\n"


async def test_a_connection_of_ours_is_closed(server: SSHServer, base: str) -> None:
    made: list[asyncssh.SSHClientConnection] = []

    async def ssh() -> asyncssh.SSHClientConnection:
        made.append(await server.connect())
        return made[-1]

    manager = SSHLinuxManager("app", ssh, base)
    async with manager.watch():
        await manager.sh("true")
        await manager.sh("true")
        assert len(made) == 1
    assert made[0].is_closed()


async def test_another_user_is_refused_the_folder(server: SSHServer, base: str) -> None:
    server.sh(f"mkdir -m 777 {base}", user="root")
    with pytest.raises(ConfigurationError, match=f"{base} on .* no folder of ours.*remote_path"):
        await greeting(SSHLinuxManager("app", server.connect, base))


@pytest.mark.parametrize(
    ("app", "path", "channels", "said"),
    [
        ("-x", "/tmp/x", 8, "app name"),
        ("app", "x/y", 8, "absolute"),
        ("app", "~/x", 8, "absolute"),
        ("app", "/x", 3, "3"),
    ],
)
def test_what_cannot_be_is_refused_at_once(app: str, path: str, channels: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SSHLinuxManager(app, asyncssh.connect, path, channels=channels)
