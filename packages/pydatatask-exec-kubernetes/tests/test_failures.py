"""What goes wrong with pods on a real cluster, and that it is told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces import DEADLINE, Namespace, manifest
from pipelines import Bench
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Retries
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.runs.site import Phase
from pydatatask_exec_kubernetes import KubeTask, LivePod, PodManager
from typing_extensions import override

pytestmark = pytest.mark.slow

LONG = 3 * DEADLINE
"""Seconds for what takes a cluster minutes."""


def told(bench: Bench, task: str, job: str = "job") -> tuple[Any, ...]:
    record = bench.done[task][job]
    return record["result"], record["cause"]


def limited(command: str, limits: str) -> str:
    return manifest(command).replace("requests: {", f"limits: {{{limits}}}\n      requests: {{")


async def test_each_way_to_fail_has_its_cause(namespace: Namespace, manager: PodManager) -> None:
    bench = Bench(manager)
    bench.shell("exits", "echo out; exit 7")
    bench.task("hungry", limited("sleep 1; tail /dev/zero", "memory: 16Mi"))
    # Counted from when its node has accepted it.
    bench.shell("slow", "echo begun; sleep 1000", timeout=30)
    bench.task("unknown_image", manifest("true", image="no.such.registry.invalid/image:1"), patience=4)
    secret = "    envFrom: [{secretRef: {name: no-such-secret}}]\n"
    bench.task("unknown_secret", manifest("true") + secret, patience=4)

    await bench.run()

    assert told(bench, "exits") == ("failure", "exit")
    assert bench.done["exits"]["job"]["return_code"] == 7
    assert bench.logs["exits"]["job"] == b"out\n"
    assert told(bench, "hungry") == ("failure", "oom")
    assert bench.done["hungry"]["job"]["reason"] == "OOMKilled"
    assert told(bench, "slow") == ("timeout", "timeout")
    assert bench.done["slow"]["job"]["reason"].startswith("DeadlineExceeded")
    assert bench.logs["slow"]["job"] == b"begun\n"
    assert told(bench, "unknown_image") == ("failure", "unschedulable")
    assert bench.done["unknown_image"]["job"]["reason"].startswith(("ErrImagePull", "ImagePullBackOff"))
    assert told(bench, "unknown_secret") == ("failure", "unschedulable")
    reason = bench.done["unknown_secret"]["job"]["reason"]
    assert reason.startswith("CreateContainerConfigError")
    assert "no-such-secret" in reason
    assert await namespace.pods() == []


async def test_a_pod_that_its_node_does_not_admit_could_not_be_scheduled(
    namespace: Namespace, manager: PodManager
) -> None:
    node = json.loads(await namespace.kubectl("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    bench = Bench(manager)
    huge = manifest("true", more=f"  nodeName: {node}\n").replace("cpu: 1m", "cpu: 1000")
    bench.task("refused", huge)

    await bench.run()

    assert told(bench, "refused") == ("failure", "unschedulable")
    assert bench.done["refused"]["job"]["reason"].startswith("OutOfcpu")


async def test_a_pod_whose_node_is_gone_is_lost(manager: PodManager) -> None:
    bench = Bench(manager)
    bench.shell("stranded", "true", more="  nodeName: no-such-node\n")

    # A cluster looks for such pods every 20 s, and waits for 40 s more before it deletes them.
    await bench.run(timeout=LONG)

    assert told(bench, "stranded") == ("lost", "lost")
    assert bench.done["stranded"]["job"]["node"] == "no-such-node"


async def test_a_pod_that_somebody_else_deletes_is_lost_and_may_be_retried(
    namespace: Namespace, manager: PodManager
) -> None:
    bench = Bench(manager)
    bench.shell("prey", "sleep 1000", jobs=["gone"])
    bench.shell("again", "while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 3", jobs=["twice"], retries=1)
    async with bench.running():
        names = await namespace.until(
            lambda pods: len(running(pods)) == 2 and [pod["metadata"]["name"] for pod in pods], "both run"
        )
        await namespace.kubectl("delete", "pod", "--grace-period=0", "--force", *names)
        await until(lambda: bench.done["prey"])
        second = await namespace.until(lambda pods: running(pods), "the second attempt")
        assert second[0]["metadata"]["labels"]["pydatatask/attempt"] == "2"
        await namespace.kubectl("exec", second[0]["metadata"]["name"], "--", "touch", "/tmp/go")
        await until(lambda: bench.done["again"])

    assert told(bench, "prey", "gone") == ("lost", "lost")
    record = bench.done["again"]["twice"]
    assert (record["result"], record["attempt"], record["return_code"]) == ("failure", 2, 3)
    assert record["attempts"][0]["cause"] == "lost"


async def test_a_pod_that_its_node_evicts_is_lost_by_eviction_and_may_be_retried(manager: PodManager) -> None:
    """Its log is lost as well: nodes do not keep it."""
    bench = Bench(manager)
    greedy = "[ ${HOSTNAME##*-} = 1 ] || exec echo modest; head -c 20000000 /dev/zero > /x; seq 1 300000; sleep 1000"
    bench.task("greedy", limited(greedy, "ephemeral-storage: 1Mi"), retries=1)

    # Nodes look every 10 s.
    await bench.run(timeout=LONG)

    record = bench.done["greedy"]["job"]
    assert (record["result"], record["attempt"]) == ("success", 2)
    (evicted,) = record["attempts"]
    assert (evicted["result"], evicted["cause"]) == ("lost", "evicted")
    assert evicted["reason"].startswith("Evicted: Pod ephemeral local storage usage exceeds")
    assert evicted["node"]
    assert evicted["start_time"] < evicted["end_time"]
    assert bench.logs["greedy"]["job"] == b"modest\n"


async def test_a_pod_that_is_evicted_by_request_is_lost(namespace: Namespace, manager: PodManager) -> None:
    bench = Bench(manager)
    bench.shell("drained", "sleep 1000")
    async with bench.running():
        (pod,) = await namespace.until(running, "it runs")
        name = pod["metadata"]["name"]
        policy = json.loads(await namespace.kubectl("get", "--raw", "/apis/policy"))
        eviction = {
            "apiVersion": policy["preferredVersion"]["groupVersion"],
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace.name},
        }
        path = f"/api/v1/namespaces/{namespace.name}/pods/{name}/eviction"
        await namespace.kubectl("create", "--raw", path, "-f", "-", document=eviction)
        await until(lambda: bench.done["drained"])

    # Clusters tell since Kubernetes 1.26 why they delete it.
    reason = bench.done["drained"]["job"]["reason"]
    if "EvictionByEvictionAPI" in reason:
        assert told(bench, "drained") == ("lost", "evicted")
    else:
        assert told(bench, "drained") == ("lost", "lost")
        assert reason == "the pod was deleted by somebody else, or with its node"


async def test_an_unschedulable_pod_waits_and_tells_what_for(namespace: Namespace, manager: PodManager) -> None:
    bench = Bench(manager)
    huge = bench.task("huge", manifest("true").replace("cpu: 1m", "cpu: 1000"))
    async with bench.running():
        await until(lambda: huge.waits_for("job"))
        why = huge.waits_for("job")
        assert why is not None
        assert why.startswith("Unschedulable")
        assert "cpu" in why
        assert bench.done["huge"] == {}
        assert await huge.end("job", "cancelled")
        await until(lambda: bench.done["huge"])
    assert told(bench, "huge") == ("cancelled", "cancelled")


async def test_a_full_quota_of_the_namespace_is_waited_for(namespace: Namespace, manager: PodManager) -> None:
    await namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "few"},
            "spec": {"hard": {"count/pods": "1"}},
        }
    )
    bench = Bench(manager)
    bench.shell("some", "true", jobs=["one", "two", "three"])

    await bench.run()

    assert {record["result"] for record in bench.done["some"].values()} == {"success"}
    assert len(bench.done["some"]) == 3


async def test_what_is_forbidden_is_named(namespace: Namespace) -> None:
    await namespace.kubectl("create", "serviceaccount", "nobody")
    async with PodManager("app", namespace.name, await account(namespace, "nobody")) as manager:
        bench = Bench(manager)
        bench.shell("denied", "true")
        with pytest.raises(ConfigurationError, match=r"forbidden.*verb 'list'.*resource 'pods'"):
            await bench.run()

    await namespace.kubectl("create", "role", "look", "--verb=get,list,watch", "--resource=pods")
    await namespace.kubectl("create", "rolebinding", "look", "--role=look", f"--serviceaccount={namespace.name}:nobody")
    await may_watch_pods(namespace, f"system:serviceaccount:{namespace.name}:nobody")
    async with PodManager("app", namespace.name, await account(namespace, "nobody")) as manager:
        bench = Bench(manager)
        bench.shell("denied", "true")
        controller = await bench.run()
    (error,) = [error for lane in controller.lanes for error in lane.set_aside.values()]
    assert "forbidden" in str(error)
    assert "the verb 'create' on the resource 'pods'" in str(error)


async def test_an_unreachable_server_holds_up_its_own_tasks_alone(namespace: Namespace) -> None:
    from kubernetes_asyncio.client.configuration import Configuration

    nowhere = Configuration()
    nowhere.host = "http://127.0.0.1:9"
    async with PodManager("app", namespace.name, nowhere) as manager:
        bench = Bench(manager)
        bench.shell("far", "true")
        here = InProcessMetadataRepository()

        async def work(job: str, inputs: InProcessMetadataRepository) -> None:
            pass

        near = InProcessSyncTask("near", here, func=work)
        near.link("inputs", InProcessMetadataRepository({"job": 1}), is_input=True)
        async with Pipeline([*bench.tasks, near], bench.session) as pipeline:
            controller = pipeline.make_controller()
            run = asyncio.create_task(controller.run())
            try:
                await until(lambda: here.data)
            finally:
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
    assert bench.done["far"] == {}


async def test_a_killed_pod_is_recorded_as_cancelled_with_its_log(namespace: Namespace, manager: PodManager) -> None:
    bench = Bench(manager)
    task = bench.shell("victim", "echo begun; sleep 1000")
    async with bench.running():
        await namespace.until(running, "it runs")
        assert await task.end("job", "cancelled")
        await until(lambda: bench.done["victim"])
    assert told(bench, "victim") == ("cancelled", "cancelled")
    assert bench.logs["victim"]["job"] == b"begun\n"


async def test_a_job_that_waits_for_its_next_pod_can_be_killed_and_no_pod_is_listed_for_it(
    namespace: Namespace, manager: PodManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(manager)
    task = bench.shell("fails", "echo out; exit 3", retries=Retries(3, delay=20, jitter=0))
    async with bench.running():
        await until(lambda: (seen := task.seen("job")) is not None and seen.phase is Phase.ENDED)
        async with PodManager("app", namespace.name) as other:
            (seen,) = await other.look("fails", "job")
            monkeypatch.setattr(manager, "look", None)
            await other.cancel(seen, "cancelled")
        await until(lambda: bench.done["fails"])
    record = bench.done["fails"]["job"]
    assert (record["result"], record["attempt"], record["return_code"]) == ("cancelled", 1, 3)
    assert bench.logs["fails"]["job"] == b"out\n"


async def test_deleting_a_live_job_deletes_its_pod_and_leaves_no_record(
    namespace: Namespace, manager: PodManager
) -> None:
    bench = Bench(manager)
    task = bench.shell("dropped", "echo begun; sleep 1000")
    live = task.links["live"].repo
    async with bench.running():
        (pod,) = await namespace.until(running, "it runs")
        assert [job async for job in live] == ["job"]
        assert (await live.info("job"))["name"] == pod["metadata"]["name"]
        await live.delete("job")
        (other,) = await namespace.until(
            lambda pods: [one for one in running(pods) if one["metadata"]["uid"] != pod["metadata"]["uid"]],
            "it was started again",
        )
        assert other["metadata"]["labels"]["pydatatask/attempt"] == "1"
    assert bench.done["dropped"] == {}


async def test_a_timeout_is_handled_with_the_pod_alive(manager: PodManager) -> None:
    seen = []

    class Curious(KubeTask):
        @override
        async def handle_timeout(self, pod: LivePod) -> None:
            seen.append(
                await pod.exec(
                    ["sh", "-c", "until [ -s /tmp/state ]; do sleep 0.1; done; cat /tmp/state; echo oops >&2; exit 5"]
                )
            )

    bench = Bench(manager)
    bench.shell("curious", "echo deep in thought > /tmp/state; sleep 1000", timeout=5, kind=Curious)

    await bench.run()

    assert told(bench, "curious") == ("timeout", "timeout")
    (executed,) = seen
    assert (executed.exit_status, executed.stdout, executed.stderr) == (5, b"deep in thought\n", b"oops\n")


def running(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [pod for pod in pods if pod["status"]["phase"] == "Running" and not pod["metadata"].get("deletionTimestamp")]


async def until(found: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not found():
            await asyncio.sleep(0.05)


async def may_watch_pods(namespace: Namespace, user: str) -> None:
    """Wait until the cluster knows of the role that a user was given."""
    spec = {"user": user, "resourceAttributes": {"namespace": namespace.name, "verb": "watch", "resource": "pods"}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    async with asyncio.timeout(DEADLINE):
        while True:
            told = json.loads(await namespace.kubectl("create", "-o", "json", "-f", "-", document=review))
            if told["status"]["allowed"]:
                return
            await asyncio.sleep(0.2)


async def account(namespace: Namespace, name: str) -> Any:
    """Give a client configuration with a token of a service account."""
    from kubernetes_asyncio.client.configuration import Configuration

    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": name}},
        "type": "kubernetes.io/service-account-token",
    }
    await namespace.apply(secret)
    async with asyncio.timeout(DEADLINE):
        while True:
            made: dict[str, Any] = json.loads(await namespace.kubectl("get", "secret", name, "-o", "json"))
            if "token" in made.get("data", {}):
                break
            await asyncio.sleep(0.2)
    config = Configuration()
    config.host = await asyncio.to_thread(server_of, os.environ["KUBECONFIG"])
    config.verify_ssl = False
    config.api_key["BearerToken"] = f"Bearer {base64.b64decode(made['data']['token']).decode()}"
    return config


def server_of(kubeconfig: str) -> str:
    told = yaml.safe_load(Path(kubeconfig).read_text())
    contexts = {one["name"]: one["context"]["cluster"] for one in told["contexts"]}
    servers = {one["name"]: one["cluster"]["server"] for one in told["clusters"]}
    return str(servers[contexts[told["current-context"]]])
