"""A namespace of the cluster of KUBECONFIG, made and looked at by kubectl, which is no part of the product."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from programs import DEADLINE, environment
from pydatatask_core.testing.services import service_missing, service_setting


@contextmanager
def fresh_namespace() -> Iterator[str]:
    """Make a namespace, and delete it with all its pods at the end."""
    service_setting("KUBECONFIG", "a cluster's client configuration")
    if shutil.which("kubectl") is None:
        service_missing("kubectl is not installed. Tests look at the cluster with it.")
    name = f"pydatatask-{secrets.token_hex(4)}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("-n", name, "delete", "pods", "--all", "--grace-period=0", "--force", "--wait=false")
        kubectl("delete", "namespace", name, "--wait=false")


def kubectl(*words: str) -> str:
    done = subprocess.run(
        ["kubectl", *words], env=environment(), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
