"""What the command says of pods, and does to them, while a controller runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from cluster import kubectl
from k3s import Cluster  # type: ignore[import-not-found]  # with the tests of the member; see conftest
from programs import DEADLINE, pipeline_file, run, started, wait_until

PODS = pipeline_file("pods")


@pytest.mark.slow
def test_pods_are_explained_read_entered_and_killed(tmp_path: Path, namespace: str) -> None:
    settings = {"NAMESPACE": namespace}
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "huge.yaml").write_text(yaml.safe_dump({"seconds": 0, "cpu": "1000"}))
    (tmp_path / "inputs" / "talks.yaml").write_text(yaml.safe_dump({"seconds": 300}))

    def ask(*words: str) -> str:
        return run(PODS, *words, cwd=tmp_path, env=settings).out

    with started(PODS, "run", cwd=tmp_path, env=settings) as controller:
        wait_until(lambda: "Insufficient cpu" in ask("why", "sleep", "huge"), "why", controller)
        assert "cannot begin yet: Unschedulable" in ask("why", "sleep", "huge")
        status = run(PODS, "status", cwd=tmp_path, env=settings)
        assert "Insufficient cpu" in status.out + status.err
        wait_until(lambda: ask("logs", "sleep", "talks") == "begin talks\n", "the log", controller)
        assert sorted(ask("ls", "sleep.live").split()) == ["huge", "talks"]
        assert '"node"' in ask("cat", "sleep.live", "talks", "--json")
        assert ask("exec", "sleep", "talks", "--", "sh", "-c", "echo $0 in here") == "sh in here\n"
        assert run(PODS, "exec", "sleep", "talks", "--", "sh", "-c", "exit 7", cwd=tmp_path, env=settings).code == 7
        killed = run(PODS, "kill", "sleep", "huge", "talks", cwd=tmp_path, env=settings)
        # The records are the controller's to write. Whoever kills waits for them half a minute beyond the grace.
        assert killed.code == 0 or "has not recorded it yet" in killed.err, killed.err
        assert controller.wait(3 * DEADLINE) == 1

    for job in ("huge", "talks"):
        record = yaml.safe_load((tmp_path / "done" / f"{job}.yaml").read_text())
        assert (record["result"], record["cause"]) == ("cancelled", "cancelled")
    assert ask("logs", "sleep", "talks") == "begin talks\n"


@pytest.mark.slow
def test_a_pod_that_never_began_is_killed_without_a_controller_and_its_job_is_not_started_anew(
    tmp_path: Path, cluster: Cluster, namespace: str
) -> None:
    settings = {"NAMESPACE": namespace}
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "huge.yaml").write_text(yaml.safe_dump({"seconds": 0, "cpu": "1000"}))

    def pods() -> str:
        return kubectl(cluster, "-n", namespace, "get", "pods", "-o", "name")

    with started(PODS, "run", cwd=tmp_path, env=settings) as controller:
        wait_until(pods, "the pod", controller)

    killed = run(PODS, "kill", "sleep", "huge", cwd=tmp_path, env=settings)

    assert killed.code == 1
    assert "sleep huge: ended, and nothing is left of its run to make a record of" in killed.err
    assert pods() == ""


@pytest.mark.slow
def test_why_and_status_name_the_quota_that_is_full(tmp_path: Path, cluster: Cluster, namespace: str) -> None:
    kubectl(cluster, "-n", namespace, "create", "quota", "none", "--hard=count/pods=0")
    wait_until(
        lambda: '"hard"' in kubectl(cluster, "-n", namespace, "get", "quota", "none", "-o", "jsonpath={.status}"),
        "the quota counts",
    )
    settings = {"NAMESPACE": namespace}
    (tmp_path / "inputs").mkdir()
    for job in ("one", "two"):
        (tmp_path / "inputs" / f"{job}.yaml").write_text(yaml.safe_dump({"seconds": 0}))

    def ask(*words: str) -> str:
        ended = run(PODS, *words, cwd=tmp_path, env=settings)
        return ended.out + ended.err

    with started(PODS, "run", cwd=tmp_path, env=settings) as controller:
        wait_until(lambda: "exceeded quota: none" in ask("why", "sleep", "one"), "why", controller)
        assert "exceeded quota: none" in ask("why", "sleep", "two")
        assert "exceeded quota: none" in ask("status")
        kubectl(cluster, "-n", namespace, "delete", "quota", "none")
        assert controller.wait(3 * DEADLINE) == 0

    assert (tmp_path / "done" / "two.yaml").exists()
