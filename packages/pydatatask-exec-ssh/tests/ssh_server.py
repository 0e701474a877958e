"""An OpenSSH server in a container, whose processes outlive it as those of a machine do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncssh
import docker  # type: ignore[import-untyped]  # it has no type information
from attrs import frozen
from docker.models.containers import Container  # type: ignore[import-untyped]  # nor has this
from pydatatask_core.testing.services import service_missing, service_setting
from testcontainers.core.container import DockerContainer

__all__ = ["PASSWORD", "USER", "SSHServer", "ssh_server"]

USER, PASSWORD = "tester", "not a secret"
DEADLINE = 60.0
LABEL = "pydatatask-test"

# The server may be killed, and comes back unless it is held down. The processes of the machine stay.
ENTRYPOINT = ["/bin/bash", "-c", "while :; do [ -e /down ] || /bin/bash /entrypoint.sh; sleep 0.1; done"]


@frozen
class SSHServer:
    """A machine with an SSH server."""

    container: Container
    address: str
    port: int
    key: asyncssh.SSHKey
    """What the user may log in with, besides the password."""
    host_key: str
    """The server's public key, as OpenSSH writes it."""

    def known_hosts(self, key: str | None = None) -> bytes:
        """The line of known_hosts that names the server's key, or another one."""
        return f"[{self.address}]:{self.port} {key or self.host_key}\n".encode()

    def options(self, **changed: Any) -> dict[str, Any]:
        """What a connection is made with; nothing of this machine's user reaches it."""
        return {
            "host": self.address,
            "port": self.port,
            "username": USER,
            "client_keys": [self.key],
            "known_hosts": self.known_hosts(),
            "agent_path": None,
            "config": None,
            **changed,
        }

    async def connect(self, **changed: Any) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(**self.options(**changed))

    def run(self, *words: str, user: str = USER) -> str:
        """Run a program there, past SSH, and give what it printed."""
        code, output = self.container.exec_run(list(words), user=user)
        assert code == 0, (words, output)
        return bytes(output).decode()

    def sh(self, program: str, user: str = USER) -> str:
        return self.run("sh", "-c", program, user=user)

    def kill(self, *, down: bool = False) -> None:
        """Kill the server and all its connections. It comes back at once, or when it is let :meth:`up`."""
        if down:
            self.run("touch", "/down", user="root")
        self.kill_all("sshd: *", "/usr/sbin/sshd *")

    def kill_all(self, *patterns: str) -> None:
        """Kill the processes whose command line, with spaces between its words, is as one of the patterns."""
        program = r"""
            for process in /proc/[0-9]*; do
                line=$(tr '\0' ' ' < $process/cmdline 2>/dev/null)
                for pattern in "$@"; do
                    case $line in $pattern) kill -KILL "${process#/proc/}" ;; esac
                done
            done
            :
        """
        self.run("sh", "-c", program, "sh", *patterns, user="root")

    def up(self) -> None:
        self.run("rm", "-f", "/down", user="root")
        self.wait()

    def wait(self) -> None:
        """Wait until the server greets."""
        deadline = time.monotonic() + DEADLINE
        while not _greets(self.address, self.port):
            assert time.monotonic() < deadline, "the SSH server does not answer"
            time.sleep(0.05)


@contextmanager
def ssh_server(tmpfs: Mapping[str, str] | None = None) -> Iterator[SSHServer]:
    """Start a machine of one's own; ``tmpfs`` says which folders are file systems of their own, with mount options."""
    image = service_setting("PYDATATASK_TEST_SSHD_IMAGE", "an image with an OpenSSH server, as docker/sshd makes it")
    try:
        docker.from_env(timeout=20).ping()
    except docker.errors.DockerException as error:
        service_missing(f"no Docker engine answers: {error}")
    key = asyncssh.generate_private_key("ssh-ed25519")
    port = _free_port()
    made = (
        DockerContainer(image)
        .with_env("SSH_USER", USER)
        .with_env("SSH_PASSWORD", PASSWORD)
        .with_env("SSH_AUTHORIZED_KEY", key.export_public_key().decode().strip())
        .with_kwargs(entrypoint=ENTRYPOINT, labels={LABEL: str(os.getpid())})
    )
    made.tmpfs.update(tmpfs or {})
    # A port that Docker chooses would be another one after a restart.
    made.ports["22/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]  # Docker takes an address, too
    with made as running:
        container = running.get_wrapped_container()
        server = SSHServer(container, "127.0.0.1", port, key, "")
        server.wait()
        code, said = container.exec_run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"])
        assert code == 0, said
        yield SSHServer(container, "127.0.0.1", port, key, " ".join(bytes(said).decode().split()[:2]))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _greets(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def busybox_only(server: SSHServer) -> None:
    """Let every program that a run or a program of ours starts be busybox's."""
    applets = (
        "sh setsid ln mv sleep mkdir rm date readlink chmod cat id uname kill rmdir touch ls find stat grep sed head "
        "printf sha256sum sort true"
    )
    server.sh(f"for name in {applets}; do busybox ln -sf /bin/busybox /usr/bin/$name; done", user="root")
    assert "BusyBox" in server.sh("sh --help 2>&1 || :")
