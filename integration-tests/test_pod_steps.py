"""Pods whose controller dies at the steps of the life of a run."""

from __future__ import annotations

import faulthandler
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cluster import kubectl
from k3s import Cluster  # type: ignore[import-not-found]  # with the tests of the member; see conftest
from programs import pipeline_file
from pydatatask_core.testing import ExecutionSiteTests
from typing_extensions import override


class TestCluster(ExecutionSiteTests):
    """A sample: each of its runs takes seconds."""

    stride = 7
    cluster: Cluster
    space: str

    @pytest.fixture(autouse=True)
    def _namespace(self, cluster: Cluster, namespace: str) -> None:
        type(self).cluster = cluster
        type(self).space = namespace

    @override
    def program(self) -> Path:
        return pipeline_file("steps_pods")

    @override
    def environment(self, folder: Path) -> Mapping[str, str]:
        return {"TEST_APP": app_of(folder), "NAMESPACE": self.space}

    @override
    def begun(self, folder: Path) -> Sequence[str]:
        """A container that begins is an event; of pods of one name, each has its own."""
        events = json.loads(kubectl(self.cluster, "-n", self.space, "get", "events", "-o", "json"))["items"]
        started = [event for event in events if event["reason"] == "Started"]
        names = [event["involvedObject"]["name"] for event in started for _ in range(event.get("count") or 1)]
        return [name for name in names if name.startswith(f"{app_of(folder)}-")]

    @override
    def left_over(self, folder: Path) -> Sequence[str]:
        selector = f"pydatatask/app={app_of(folder)}"
        return kubectl(self.cluster, "-n", self.space, "get", "pods", "-l", selector, "-o", "name").split()


@pytest.mark.campaign
class TestClusterAtEveryStep(TestCluster):
    stride = 1

    @pytest.fixture(autouse=True)
    def _takes_long(self) -> None:
        """All steps together may take longer than a test may otherwise. Each program has a time limit of its own."""
        faulthandler.cancel_dump_traceback_later()


def app_of(folder: Path) -> str:
    return f"steps-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"
