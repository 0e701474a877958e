"""The example of functions in pods: they read and write a bucket from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bucket_server import BucketServer, serving
from k3s import Cluster  # type: ignore[import-not-found]  # with the tests of the member; see conftest
from programs import DEADLINE, HERE, environment
from pydatatask_core.testing.services import service_setting

ROOT = HERE.parent
EXAMPLE = ROOT / "packages" / "pydatatask" / "examples" / "pod_words"
IMAGE = "pydatatask-test/words:test"
BUILD = 420.0
"""Seconds that building and loading the image may take."""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> str:
    """Build the example's image with the wheels of this checkout, and give it to the cluster."""
    context = tmp_path_factory.mktemp("image")
    shutil.copytree(EXAMPLE, context, dirs_exist_ok=True)
    wheels = context / "wheels"
    do("uv", "build", "--quiet", "--wheel", "--all-packages", "--out-dir", str(wheels))
    needed = do("uv", "export", "--quiet", "--package", "pydatatask", "--no-dev", "--no-emit-workspace", "--no-hashes")
    (context / "needed.txt").write_text(needed)
    python = ("--python-version", "3.11", "--only-binary", ":all:", "--quiet")
    do("pip", "download", *python, "--dest", str(wheels), "--requirement", str(context / "needed.txt"))
    base = service_setting("PYDATATASK_TEST_PYTHON_IMAGE", "an image with Python 3.11 and pip")
    options = ("--build-arg", f"BASE_IMAGE={base}", "--build-arg", "PIP_OPTIONS=--no-index --break-system-packages")
    do("docker", "build", "--quiet", *options, "--tag", IMAGE, str(context))
    cluster.load(IMAGE)
    return IMAGE


@pytest.fixture
def pod_server() -> Iterator[BucketServer]:
    host = service_setting("PYDATATASK_TEST_HOST_FROM_PODS", "the address of this machine as pods see it")
    with serving(host=host) as server:
        yield server


@pytest.mark.slow
def test_a_function_in_a_pod_reads_and_writes_a_bucket(
    tmp_path: Path, image: str, pod_server: BucketServer, namespace: str
) -> None:
    texts = {"short": b"three words here\n", "Long.er": b"and five words are here\n", "broken": b"\xff\xfe\n"}
    pod_server.put("words", {f"texts/{job}.txt": text for job, text in texts.items()})
    settings = {**pod_server.environment(), "IMAGE": image, "NAMESPACE": namespace}

    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "main.py"), "run"],
        cwd=tmp_path,
        env={**environment(settings), "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    assert pod_server.get("words", "counts/short.txt") == b"3\n"
    assert pod_server.get("words", "counts/Long.er.txt") == b"5\n"
    assert b"short has 3 words" in pod_server.get("words", "logs/short.txt")
    call = yaml.safe_load(pod_server.get("words", "calls/short.yaml"))
    assert (call["result"], call["attempt"]) == ("success", 1)
    pod = yaml.safe_load(pod_server.get("words", "pods/short.yaml"))
    assert (pod["result"], pod["return_code"], pod["image"]) == ("success", 0, image)
    failed = yaml.safe_load(pod_server.get("words", "calls/broken.yaml"))
    assert failed["result"] == "failure"
    assert "not UTF-8" in failed["exception"]
    assert "main.py" in failed["traceback"]
    assert yaml.safe_load(pod_server.get("words", "pods/broken.yaml"))["return_code"] == 1
    assert "counts/broken.txt" not in pod_server.keys("words")


def do(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=BUILD, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout
