"""A controller of pods killed at any instant and started again: each job has one pod, and all of it is kept."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from cluster import kubectl
from k3s import Cluster  # type: ignore[import-not-found]  # with the tests of the member; see conftest
from programs import DEADLINE, environment, pipeline_file, run, started, wait_until

PODS = pipeline_file("pods")


@pytest.mark.parametrize(
    ("seed", "kills", "jobs", "longest"),
    [
        pytest.param(0, 3, 5, 8, marks=pytest.mark.slow),
        *(pytest.param(seed, 10, 20, 40, marks=pytest.mark.campaign) for seed in (1, 2, 3)),
    ],
)
def test_killed_at_random_instants_and_started_again(
    tmp_path: Path, cluster: Cluster, namespace: str, seed: int, kills: int, jobs: int, longest: int
) -> None:
    chance = random.Random(seed)
    names = [f"job-{number}" for number in range(jobs)]
    (tmp_path / "inputs").mkdir()
    for name in names:
        (tmp_path / "inputs" / f"{name}.yaml").write_text(yaml.safe_dump({"seconds": chance.randint(0, longest)}))
    settings = {"NAMESPACE": namespace}

    with pods_seen(cluster, namespace) as seen:
        for _ in range(kills):
            with started(PODS, "run", cwd=tmp_path, env=settings) as controller:
                # It takes about two seconds until the first pod is made.
                time.sleep(chance.uniform(0.5, 8.0))
                controller.send_signal(signal.SIGKILL)
                controller.wait()
        with started(PODS, "run", cwd=tmp_path, env=settings) as controller:
            assert controller.wait(3 * DEADLINE) == 0, (tmp_path / "output.log").read_text()

    assert {job: len(pods) for job, pods in seen.items()} == dict.fromkeys(names, 1)
    for name in names:
        assert (tmp_path / "logs" / f"{name}.txt").read_text() == f"begin {name}\nend {name}\n"
        record = yaml.safe_load((tmp_path / "done" / f"{name}.yaml").read_text())
        assert (record["result"], record["return_code"], record["attempt"]) == ("success", 0, 1)
    wait_until(lambda: kubectl(cluster, "-n", namespace, "get", "pods", "-o", "name") == "", "nothing is left over")
    again = run(PODS, "run", cwd=tmp_path, env=settings)
    assert again.code == 0
    assert {job: len(pods) for job, pods in seen.items()} == dict.fromkeys(names, 1)


@contextmanager
def pods_seen(cluster: Cluster, namespace: str) -> Iterator[Mapping[str, set[str]]]:
    """Collect the ids of the pods that the cluster tells of, by job, as long as the block runs."""
    seen: dict[str, set[str]] = defaultdict(set)
    path = f"/api/v1/namespaces/{namespace}/pods"
    # From this version on, a pod that is gone before the watch stands is told of, too.
    version = json.loads(kubectl(cluster, "get", "--raw", path))["metadata"]["resourceVersion"]
    words = ["get", "--raw", f"{path}?watch=1&resourceVersion={version}"]
    process = subprocess.Popen(
        [*cluster.kubectl, *words], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            pod = json.loads(line)["object"]["metadata"]
            seen[pod["labels"]["pydatatask/job"]].add(pod["uid"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
        # What the cluster told last arrives before what is told on another connection afterwards, but for a moment.
        wait_until(lambda: process.poll() is None, "the watch stands")
    finally:
        process.kill()
        reader.join(DEADLINE)
        process.wait(DEADLINE)
        process.stdout.close()
