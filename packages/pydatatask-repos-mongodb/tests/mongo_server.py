"""Servers that the tests start themselves: a program of this machine, or a container of the public image."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from attrs import define
from pydatatask_core.testing.services import service_missing
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from typing_extensions import override

COMMAND = "PYDATATASK_TEST_MONGO_COMMAND"
IMAGE = "PYDATATASK_TEST_MONGO_IMAGE"
URL = "PYDATATASK_TEST_MONGO_URL"

REPLICA_SET = "rs0"
START = 60.0
"""Seconds in which a server answers."""


class Server(Protocol):
    """A server that can be killed, and started again with what it stored."""

    @property
    def url(self) -> str:
        """Where it is, the same after each start. It asks for no password."""
        ...

    def start(self) -> None:
        """Start it, and wait until it answers."""
        ...

    def kill(self) -> None:
        """End it at once, as when its machine fails. What it stored stays."""
        ...


@contextmanager
def own_server(folder: Path) -> Iterator[Server]:
    """Give a server that nobody else uses, started, which keeps what it needs in a folder."""
    port = free_port()
    command = own_command(port, folder)
    server: Program | Container = Program(command, port, folder / "log") if command else Container(port)
    try:
        server.start()
        yield server
    finally:
        server.end()


@define
class Program(Server):
    """A server that is a program of this machine."""

    command: Sequence[str]
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    @override
    def url(self) -> str:
        return loopback_url(self.port)

    @override
    def start(self) -> None:
        with self.log.open("ab") as log:
            process = self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.url, self.port, lambda: process.poll() is None)

    @override
    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


@define
class Container(Server):
    """A server in a container, with a port of the loopback interface that stays the same over a restart."""

    port: int
    container: Any = None
    """testcontainers' object; its library has no types for what Docker gives."""

    @property
    @override
    def url(self) -> str:
        return loopback_url(self.port)

    @override
    def start(self) -> None:
        if self.container is None:
            self._make()
        else:
            self.container.get_wrapped_container().start()
        wait_for(self.url, 27017, lambda: True)

    def _make(self) -> None:
        from docker.errors import DockerException  # type: ignore[import-untyped]  # it has no type information
        from testcontainers.core.container import DockerContainer

        image = os.environ.get(IMAGE, "mongo")
        try:
            container = DockerContainer(image).with_kwargs(labels={"pydatatask-test": "mongo"})
            container.with_command(f"--replSet {REPLICA_SET} --bind_ip_all")
            ports: dict[str, Any] = container.ports
            ports["27017/tcp"] = ("127.0.0.1", self.port)
            self.container = container
            container.start()
        # A pull that nobody answers ends by the client's own timeout, as an error of its HTTP library.
        except (DockerException, OSError) as error:
            service_missing(
                f"{URL} is not set, and no server could be started from the image {image} with Docker: {error}"
            )

    @override
    def kill(self) -> None:
        self.container.get_wrapped_container().kill()

    def end(self) -> None:
        if self.container is not None:
            self.container.stop()


def own_command(port: int, folder: Path) -> list[str] | None:
    """Give how to start a server on a port that stores in a folder; None if this machine has no program for it."""
    (folder / "data").mkdir()
    if told := os.environ.get(COMMAND):
        return [word.format(port=port, folder=folder / "data") for word in shlex.split(told)]
    if url := os.environ.get(URL):
        from pymongo.uri_parser import parse_uri

        ((host, running), *_) = parse_uri(url)["nodelist"]
        if host in ("127.0.0.1", "localhost"):
            return like_the_one_at(running, port, folder / "data")
    return None


def like_the_one_at(running: int, port: int, folder: Path) -> list[str] | None:
    """Give the command line of the program that listens on a port, changed to another port and data folder.

    Users are kept with the data, so the new one is to ask for none.
    """
    program, *words = program_at(running) or [""]
    folders = {word for word in words if Path(word).is_dir()}
    if str(running) not in words or not folders:
        return None
    changed = {str(running): str(port), **dict.fromkeys(folders, str(folder))}
    return [program, *(changed.get(word, word) for word in words if word != "--auth")]


def program_at(port: int) -> list[str]:
    """Give the command line of the program of this machine that listens on a port; nothing if it cannot be seen."""
    try:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return []
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if sockets.intersection(os.readlink(opened) for opened in (process / "fd").iterdir()):
                return (process / "cmdline").read_text().split("\0")[:-1]
        except OSError:
            # It has ended, or is another user's.
            continue
    return []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def loopback_url(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?directConnection=true"


def wait_for(url: str, inner_port: int, alive: Callable[[], bool]) -> None:
    """Wait until a server takes writes. A replica set that is new is made to have one member, at its inner port."""
    deadline = time.monotonic() + START
    member = {"_id": 0, "host": f"127.0.0.1:{inner_port}"}
    with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=500) as client:
        while True:
            assert alive(), f"the server at {url} has ended"
            try:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return
                client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
                problem = "it has just become a replica set"
            except PyMongoError as error:
                # It does not answer, or is a replica set already and about to become the primary.
                problem = str(error)
            assert time.monotonic() < deadline, f"the server at {url} takes no writes: {problem}"
            time.sleep(0.05)
