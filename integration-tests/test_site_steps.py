"""Sites whose controllers die at every step of the life of a run."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import docker  # type: ignore[import-untyped]  # it has no type information
import pytest
from docker_engine import LABEL, engine_of_a_fresh_app
from programs import pipeline_file
from pydatatask_core.testing import ExecutionSiteTests
from typing_extensions import override


class TestThisMachine(ExecutionSiteTests):
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


class TestDockerEngine(ExecutionSiteTests):
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
        return [container.name for container in self.client.containers.list(all=True, filters=filters)]


def app_of(folder: Path) -> str:
    return f"steps-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
