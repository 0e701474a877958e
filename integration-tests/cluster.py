"""A namespace of a real cluster, made and looked at by kubectl, which is no part of the product."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from k3s import Cluster  # type: ignore[import-not-found]  # with the tests of the member; see conftest
from programs import DEADLINE, environment, wait_until


@contextmanager
def fresh_namespace(cluster: Cluster) -> Iterator[str]:
    """Make a namespace, and delete it with all its pods at the end."""
    name = f"pydatatask-{secrets.token_hex(4)}"
    kubectl(cluster, "create", "namespace", name)
    try:
        wait_until(lambda: kubectl(cluster, "-n", name, "get", "serviceaccounts", "-o", "name"), "pods are taken")
        yield name
    finally:
        kubectl(cluster, "-n", name, "delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
        kubectl(cluster, "delete", "namespace", name, "--wait=false")


def kubectl(cluster: Cluster, *words: str, text: str = "") -> str:
    """Run kubectl, and give what it printed; ``text`` is its standard input."""
    done = subprocess.run(
        [*cluster.kubectl, *words],
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
