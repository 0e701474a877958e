"""The servers that whole pipelines run against."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "pydatatask-exec-ssh" / "tests"))
sys.path.append(str(Path(__file__).parents[1] / "packages" / "pydatatask-exec-kubernetes" / "tests"))

from bucket_server import BucketServer, serving
from cluster import fresh_namespace
from k3s import (  # type: ignore[import-not-found]  # with the tests of the member, as above
    Cluster,
    cluster_of_session,
)
from programs import EXAMPLE, environment


@pytest.fixture(scope="session", autouse=True)
def _untouched_by_the_user() -> Iterator[None]:
    """Keep what this machine's user set up for AWS away from the clients in this process, too."""
    with pytest.MonkeyPatch.context() as patch:
        wanted = environment()
        for name in os.environ.keys() - wanted.keys():
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _lock_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests that run the same pipeline run side by side: its lock is in the user's state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="session")
def server_of_session() -> Iterator[BucketServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(server_of_session: BucketServer) -> BucketServer:
    """A server without buckets, which takes any credentials."""
    server_of_session.reset()
    return server_of_session


@pytest.fixture(scope="session")
def strict_server() -> Iterator[BucketServer]:
    """A server that checks credentials and permissions."""
    with serving(strict=True) as server:
        yield server


@pytest.fixture(scope="session")
def books() -> dict[str, str]:
    """The texts of the example, by job."""
    return {file.stem: file.read_text() for file in sorted(EXAMPLE.glob("books/*.txt"))}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real cluster, which KUBECONFIG names from now on."""
    with cluster_of_session(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """The name of a namespace of its own on a real cluster."""
    with fresh_namespace(cluster) as name:
        yield name
