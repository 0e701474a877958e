"""How one gets in: by password, by key, by a session's resource; and what is said where one does not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncssh
import pytest
from pydatatask_core import ConfigurationError, Session, SessionClosedError, SiteUnavailableError
from pydatatask_exec_ssh import SSHLinuxManager
from ssh_server import PASSWORD, SSHServer


async def greeting(manager: SSHLinuxManager) -> str:
    async with manager:
        return await manager.sh("echo hello")


async def test_a_key_lets_in(server: SSHServer, base: str) -> None:
    manager = SSHLinuxManager("app", lambda: asyncssh.connect(**server.options()), base)
    assert await greeting(manager) == "hello\n"


async def test_a_password_lets_in(server: SSHServer, base: str) -> None:
    options = server.options(client_keys=None, password=PASSWORD)
    assert await greeting(SSHLinuxManager("app", lambda: asyncssh.connect(**options), base)) == "hello\n"


async def test_a_wrong_password_is_told_and_not_shown(server: SSHServer, base: str) -> None:
    options = server.options(client_keys=None, password="hunter2")
    manager = SSHLinuxManager("app", lambda: asyncssh.connect(**options), base)
    with pytest.raises(SiteUnavailableError, match="refuses the login") as caught:
        await greeting(manager)
    assert "hunter2" not in f"{caught.value} {manager!r}"


async def test_another_host_key_is_refused(server: SSHServer, base: str) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    options = server.options(known_hosts=server.known_hosts(other))
    with pytest.raises(SiteUnavailableError, match="host key is not the one that is known"):
        await greeting(SSHLinuxManager("app", lambda: asyncssh.connect(**options), base))


async def test_an_unknown_host_is_refused(server: SSHServer, base: str) -> None:
    options = server.options(known_hosts=b"")
    with pytest.raises(SiteUnavailableError, match="host key is not the one that is known"):
        await greeting(SSHLinuxManager("app", lambda: asyncssh.connect(**options), base))


async def test_a_host_that_does_not_answer_is_named(base: str) -> None:
    async def ssh() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect("127.0.0.1", 1, config=None)

    with pytest.raises(SiteUnavailableError, match=r"log in on the host of .*ssh"):
        await greeting(SSHLinuxManager("app", ssh, base))


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
