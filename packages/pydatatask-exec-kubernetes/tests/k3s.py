"""The real cluster that tests talk to: the one that KUBECONFIG names, or else K3s in a container of the Docker engine.

K3s is started once per test session, which may take minutes the first time: its image is pulled.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from pydatatask_core.testing.services import service_missing

__all__ = ["Cluster", "cluster_of_session"]

IMAGE = os.environ.get("PYDATATASK_TEST_K3S_IMAGE") or "rancher/k3s:v1.31.4-k3s1"
LOCAL = ("PYDATATASK_TEST_BUSYBOX_IMAGE", "PYDATATASK_TEST_PYTHON_IMAGE")
"""What names images of the tests. Those that the engine has are given to K3s, which pulls all others itself."""
LOADER = Path(__file__).parents[4] / "shared" / "services" / "kubernetes" / "load"
"""Where continuous integration has its cluster's loader."""

ANSWER = 30.0
"""Seconds that the Docker engine may take for something small."""
PULL = 300.0
"""Seconds that getting the image may take. Without a way to the registry the engine gives up sooner."""
READY = 120.0
"""Seconds that K3s may take to have a node, and that giving it an image may take."""


@frozen
class Cluster:
    """A cluster that KUBECONFIG leads to."""

    kubectl: tuple[str, ...]
    """The words that run kubectl."""
    container: str | None = None
    """The id of the container that is the cluster, if we made it."""

    def load(self, image: str) -> None:
        """Give the cluster an image of the Docker engine. Pods that use it must not pull: no tag ``latest``."""
        if self.container is not None:
            _sh(f"docker save {shlex.quote(image)} | docker exec -i {self.container} ctr images import -", READY)
            return
        loader = os.environ.get("PYDATATASK_TEST_LOAD_IMAGE") or (str(LOADER) if LOADER.is_file() else None)
        if loader is None:
            service_missing(
                "PYDATATASK_TEST_LOAD_IMAGE is not set. Set it to a program that loads an image into the cluster."
            )
        _sh(f"{loader} {shlex.quote(image)}", READY)


@contextmanager
def cluster_of_session(folder: Path) -> Iterator[Cluster]:
    """Find a cluster, or make one, whose client configuration is written to a folder.

    Without either the tests are skipped, or fail where ``CI=true``.
    """
    if os.environ.get("KUBECONFIG"):
        if shutil.which("kubectl") is None:
            service_missing("kubectl is not installed. Tests look at the cluster with it.")
        yield Cluster(("kubectl",))
        return
    _get_image()
    with _k3s(folder) as cluster:
        for image in filter(None, map(os.environ.get, LOCAL)):
            if _docker("image", "inspect", image) is None:
                cluster.load(image)
        yield cluster


def _get_image() -> None:
    if shutil.which("docker") is None:
        service_missing("KUBECONFIG is not set, and there is no docker to run K3s with.")
    silent = _docker("version")
    if silent is not None:
        service_missing(f"KUBECONFIG is not set, and no Docker engine answers that could run K3s: {silent}")
    if _docker("image", "inspect", IMAGE) is not None:
        failure = _docker("pull", "--quiet", IMAGE, timeout=PULL)
        if failure is not None:
            service_missing(f"KUBECONFIG is not set, and the K3s image {IMAGE} cannot be pulled: {failure}")


@contextmanager
def _k3s(folder: Path) -> Iterator[Cluster]:
    from docker.errors import DockerException  # type: ignore[import-untyped]  # it has no type information
    from testcontainers.community.k3s import K3SContainer

    container = K3SContainer(IMAGE)
    try:
        with warnings.catch_warnings():
            # It waits for a line of the log in a way that its own library calls deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            container.start()
    except (DockerException, OSError, RuntimeError) as error:
        container.stop()
        service_missing(f"KUBECONFIG is not set, and K3s does not begin in a container of {IMAGE}: {error}")
    try:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(container.config_yaml())
        name = container.get_container_id()
        inside = ("docker", "exec", "-i", name, "kubectl")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(kubeconfig))
            if not os.environ.get("PYDATATASK_TEST_HOST_FROM_PODS"):
                patch.setenv("PYDATATASK_TEST_HOST_FROM_PODS", container.get_docker_client().gateway_ip(name))
            cluster = Cluster(inside if shutil.which("kubectl") is None else ("kubectl",), name)
            _wait_for_node(cluster)
            yield cluster
    finally:
        container.stop()


def _wait_for_node(cluster: Cluster) -> None:
    deadline = time.monotonic() + READY
    words = [*cluster.kubectl, "wait", "--for=condition=Ready", "node", "--all", "--timeout=5s"]
    while True:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER, check=False)
        if done.returncode == 0 and done.stdout:
            return
        if time.monotonic() > deadline:
            service_missing(f"K3s of {IMAGE} has no node that is ready: {done.stderr.strip()}")
        time.sleep(0.5)


def _docker(*words: str, timeout: float = ANSWER) -> str | None:
    """Run a command of docker; give what went wrong, if anything did."""
    try:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"docker {words[0]} took longer than {timeout:.0f} s"
    return None if done.returncode == 0 else done.stderr.strip() or f"docker {words[0]} failed"


def _sh(command: str, timeout: float) -> None:
    words = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
