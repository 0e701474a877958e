"""Sites whose controllers die at every step of the life of a run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import docker  # type: ignore[import-untyped]  # it has no type information
import pytest
from docker_engine import LABEL, engine_of_a_fresh_app
from programs import pipeline_file, wait_until
from pydatatask_core.testing import ExecutionSiteTests
from ssh_server import (  # type: ignore[import-not-found]  # with the tests of the member; see conftest
    PASSWORD,
    USER,
    SSHServer,
    ssh_server,
)
from typing_extensions import override


class TestThisMachine(ExecutionSiteTests):
    """A sample, as of the other sites: all steps are a campaign."""

    stride = 3

    @override
    def program(self) -> Path:
        return pipeline_file("steps_here")

    @override
    def begun(self, folder: Path) -> Sequence[str]:
        return (folder / "begun").read_text().splitlines()

    @override
    def left_over(self, folder: Path) -> Sequence[str]:
        base = folder / "base" / "steps"
        runs = [str(path) for path in base.rglob("*") if path.name not in {".new", ".old"}]
        return [*runs, *(str(path) for path in folder.glob("pids/[!.]*"))]


@pytest.mark.campaign
class TestThisMachineAtEveryStep(TestThisMachine):
    stride = 1


class TestSSHHost(ExecutionSiteTests):
    """A sample: each of its controllers takes seconds to connect."""

    stride = 7
    host: SSHServer

    @pytest.fixture(autouse=True)
    def _host(self) -> Iterator[None]:
        with ssh_server() as server:
            type(self).host = server
            yield

    @override
    def program(self) -> Path:
        return pipeline_file("steps_ssh")

    @override
    def environment(self, folder: Path) -> Mapping[str, str]:
        known_hosts = folder.parent / "known_hosts"
        known_hosts.write_bytes(self.host.known_hosts())
        login = {"username": USER, "password": PASSWORD, "client_keys": None, "known_hosts": str(known_hosts)}
        where = {"host": self.host.address, "port": self.host.port, "base": base_of(folder), "login": login}
        return {"TEST_SSH": json.dumps(where)}

    @override
    def begun(self, folder: Path) -> Sequence[str]:
        said: str = self.host.sh(f"cat {base_of(folder)}.begun")
        return said.splitlines()

    @override
    def left_over(self, folder: Path) -> Sequence[str]:
        # What a watcher has on the host goes when it learns that its connection has ended.
        wait_until(lambda: not self._found(folder, "-path './.stamp.*'"), "the watchers have gone")
        return [*self._found(folder), *(str(path) for path in folder.glob("pids/[!.]*"))]

    def _found(self, folder: Path, which: str = "") -> Sequence[str]:
        # What vanishes while it is looked at is not there.
        find = f"{{ find . -mindepth 1 ! -path ./.new ! -path ./.old {which} 2>/dev/null || :; }}"
        said: str = self.host.sh(f"cd {base_of(folder)}/steps && {find}")
        return said.splitlines()


@pytest.mark.campaign
class TestSSHHostAtEveryStep(TestSSHHost):
    stride = 1


class TestDockerEngine(ExecutionSiteTests):
    """A sample."""

    stride = 3
    client: docker.DockerClient
    since: int

    @pytest.fixture(autouse=True)
    def _engine(self) -> Iterator[None]:
        with engine_of_a_fresh_app() as engine:
            type(self).client = engine.client
            type(self).since = int(time.time()) - 1
            yield

    @override
    def program(self) -> Path:
        return pipeline_file("steps_docker")

    @override
    def environment(self, folder: Path) -> Mapping[str, str]:
        return {"TEST_APP": app_of(folder)}

    @override
    def begun(self, folder: Path) -> Sequence[str]:
        filters = {"label": f"{LABEL}={app_of(folder)}", "event": "start"}
        # One second more, because the engine takes whole ones.
        told = self.client.events(since=self.since, until=int(time.time()) + 1, filters=filters, decode=True)
        return [event["Actor"]["Attributes"]["name"] for event in told]

    @override
    def left_over(self, folder: Path) -> Sequence[str]:
        filters = {"label": f"{LABEL}={app_of(folder)}"}
        found = self.client.containers.list(all=True, filters=filters, ignore_removed=True)
        return [container.name for container in found]


@pytest.mark.campaign
class TestDockerEngineAtEveryStep(TestDockerEngine):
    stride = 1


def base_of(folder: Path) -> str:
    return f"/tmp/{app_of(folder)}"


def app_of(folder: Path) -> str:
    return f"steps-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
