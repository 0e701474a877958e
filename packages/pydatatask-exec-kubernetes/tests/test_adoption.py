"""Pods that a controller left, and the next one finds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from namespaces import BUSYBOX, DEADLINE, Namespace, manifest
from pipelines import Bench
from pydatatask_core import InProcessMetadataRepository, ResourceManager, Resources
from pydatatask_core.errors import ConflictError
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import RunName
from pydatatask_exec_kubernetes import PodManager
from pydatatask_exec_kubernetes.manifest import read_manifest

pytestmark = pytest.mark.slow

RELEASED = 'while [ ! -e /tmp/go ]; do sleep 0.1; done; echo "{{ job }} went"'


async def until(found: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not found():
            await asyncio.sleep(0.05)


def running(pods: list[dict[str, Any]]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]


async def go(namespace: Namespace, *names: str) -> None:
    for name in names:
        await namespace.kubectl("exec", name, "--", "touch", "/tmp/go")


async def test_live_pods_are_adopted_and_the_quota_counts_what_they_request(namespace: Namespace) -> None:
    jobs = ["a", "b", "c", "d"]
    lists: dict[str, Any] = {"done": {"waits": {}}, "logs": {"waits": {}}}

    def bench(manager: PodManager, quota: ResourceManager) -> Bench:
        made = Bench(manager, **lists)
        made.shell("waits", RELEASED, jobs=jobs, quota=quota)
        return made

    first = ResourceManager(Resources.parse("2m", "1Gi"))
    async with PodManager("app", namespace.name) as manager, bench(manager, first).running():
        names = await namespace.until(lambda pods: len(running(pods)) == 2 and running(pods), "as many as fit")
        assert first.used == Resources.parse("2m", "16Mi")
    second = ResourceManager(Resources.parse("2m", "1Gi"))
    async with PodManager("app", namespace.name) as manager, bench(manager, second).running():
        await until(lambda: second.used == Resources.parse("2m", "16Mi"))
        assert sorted(running(await namespace.pods())) == sorted(names)
        await go(namespace, *names)
        others = await namespace.until(lambda pods: len(set(running(pods)) - set(names)) == 2 and running(pods), "rest")
        await go(namespace, *others)
        await until(lambda: len(lists["done"]["waits"]) == 4)
    assert lists["logs"]["waits"] == {job: f"{job} went\n".encode() for job in jobs}
    assert {record["attempt"] for record in lists["done"]["waits"].values()} == {1}


async def test_requests_that_differ_between_jobs_are_counted(namespace: Namespace, manager: PodManager) -> None:
    quota = ResourceManager(Resources.parse("10m", "1Gi"))
    bench = Bench(manager)
    template = manifest(RELEASED).replace("cpu: 1m", "cpu: {{ inputs.cpu }}")
    sizes = {"small": {"cpu": "1m"}, "large": {"cpu": "8m"}, "other": {"cpu": "5m"}}
    bench.task("sized", template, jobs=sizes, quota=quota)
    async with bench.running():
        names = await namespace.until(lambda pods: len(running(pods)) == 2 and running(pods), "two fit")
        assert quota.used.cpu == pytest.approx(0.009) or quota.used.cpu == pytest.approx(0.006)
        await go(namespace, *names)
        rest = await namespace.until(lambda pods: set(running(pods)) - set(names), "the third")
        await go(namespace, *rest)
        await until(lambda: len(bench.done["sized"]) == 3)
    assert quota.used.cpu == pytest.approx(0)


async def test_a_pod_of_that_name_which_is_not_ours_is_a_conflict(namespace: Namespace, manager: PodManager) -> None:
    run = RunName("task", "job", 1)
    stranger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": dns_name("app", run), "labels": {"pydatatask/app": "other"}},
        "spec": {"containers": [{"name": "main", "image": BUSYBOX, "command": ["true"]}]},
    }
    await namespace.apply(stranger)
    spec = read_manifest(manifest("true"), "the manifest", counted=False)

    with pytest.raises(ConflictError, match="not of app app"):
        await manager.claim(run, "owner", spec)


async def test_a_run_of_another_pipeline_is_not_adopted(namespace: Namespace, manager: PodManager) -> None:
    spec = read_manifest(manifest("true"), "the manifest", counted=False)
    assert await manager.claim(RunName("same", "job", 1), "somebody else", spec) is not None
    await namespace.until(lambda pods: pods[0]["status"]["phase"] == "Succeeded", "theirs ended")
    bench = Bench(manager)
    bench.shell("same", "true")

    controller = await bench.run()

    (error,) = [error for lane in controller.lanes for error in lane.set_aside.values()]
    assert "another pipeline" in str(error)
    assert bench.done["same"] == {}
    assert len(await namespace.pods()) == 1


async def test_a_claim_is_made_once_and_the_next_sees_it(manager: PodManager, namespace: Namespace) -> None:
    run = RunName("task", "job", 1)
    spec = read_manifest(manifest("sleep 1000"), "the manifest", counted=False)

    claims = await asyncio.gather(*(manager.claim(run, "owner", spec) for _ in range(5)))

    assert len([claim for claim in claims if claim is not None]) == 1
    (seen,) = await manager.look("task", "job")
    assert (seen.run, seen.owner) == (run, "owner")
    assert len(await namespace.pods()) == 1


async def test_what_is_done_to_a_pod_is_not_done_to_the_next_of_its_name(
    namespace: Namespace, manager: PodManager
) -> None:
    run = RunName("task", "job", 1)
    spec = read_manifest(manifest("sleep 1000"), "the manifest", counted=False)
    async with PodManager("app", namespace.name) as late:
        first = await late.claim(run, "owner", spec)
        assert first is not None
        await namespace.kubectl("delete", "pod", "--grace-period=0", "--force", first.identity["name"])
        ended = await late.finish(first)
        assert await manager.claim(run, "owner", spec) is not None

        await late.cancel(first, "cancelled")
        vanished = await late.vanished(first)
        await late.release("task", "job")

    for seen in (ended, vanished):
        assert (seen.claim, seen.result, seen.cause) == (first.claim, "lost", "lost")
    (second,) = await namespace.pods()
    assert "deletionTimestamp" not in second["metadata"]
    assert "pydatatask/end" not in second["metadata"]["annotations"]
    assert "activeDeadlineSeconds" not in second["spec"]


async def test_a_pod_that_is_being_deleted_is_awaited_and_not_adopted(
    namespace: Namespace, manager: PodManager
) -> None:
    spec = read_manifest(manifest("trap '' TERM; sleep 1000"), "the manifest", counted=False)
    slow = {**spec, "spec": {**spec["spec"], "terminationGracePeriodSeconds": 15}}
    bench = Bench(manager)
    task = bench.shell("later", "echo second")
    first = await manager.claim(RunName("later", "job", 1), task.owner, slow)
    assert first is not None
    (name,) = await namespace.until(running, "it runs")
    await namespace.kubectl("delete", "pod", name, "--wait=false")

    await bench.run()

    record = bench.done["later"]["job"]
    assert (record["result"], record["cause"]) == ("lost", "lost")


async def test_a_job_that_was_recorded_while_the_controller_was_away_is_released(
    namespace: Namespace, manager: PodManager
) -> None:
    bench = Bench(manager)
    task = bench.shell("known", "true")
    spec = read_manifest(manifest("true"), "the manifest", counted=False)
    assert await manager.claim(RunName("known", "job", 1), task.owner, spec) is not None
    await namespace.until(lambda pods: pods and pods[0]["status"]["phase"] == "Succeeded", "it ended")
    done = task.links["done"].repo
    assert isinstance(done, InProcessMetadataRepository)
    await done.dump("job", {"result": "success", "by": "the controller that died"})

    await bench.run()

    assert bench.done["known"]["job"]["by"] == "the controller that died"
    assert await namespace.pods() == []
