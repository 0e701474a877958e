"""Pods from claim to release, on a real cluster."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from namespaces import BUSYBOX, Namespace, manifest
from pipelines import Bench
from pydatatask_exec_kubernetes import PodManager

pytestmark = pytest.mark.slow


async def test_a_pod_runs_for_a_job_and_leaves_log_and_record(namespace: Namespace, manager: PodManager) -> None:
    bench = Bench(manager)
    bench.shell("greet", "echo hello {{ job }} {{ inputs }}", jobs={"one": 1, "two": 2})

    await bench.run()

    assert bench.logs["greet"] == {"one": b"hello one 1\n", "two": b"hello two 2\n"}
    record = bench.done["greet"]["one"]
    assert record["result"] == "success"
    assert record["return_code"] == 0
    assert record["reason"] == "Completed"
    assert record["node"]
    assert "busybox" in record["image"]
    assert record["start_time"] <= record["end_time"] <= datetime.now(UTC)
    assert await namespace.pods() == []


async def test_a_pod_costs_three_requests_and_the_shared_watch(manager: PodManager) -> None:
    bench = Bench(manager)
    for name in ("one", "two"):
        bench.shell(name, "true", jobs=[f"job-{number}" for number in range(4)])

    await bench.run()

    assert len(bench.done["one"]) == len(bench.done["two"]) == 4
    requests = dict(manager.cluster.requests)
    shared = requests.pop("list pods"), requests.pop("watch pods")
    assert shared == (1, 1)
    assert requests == {"create pods": 8, "get pods/log": 8, "delete pods": 8}


async def test_names_and_jobs_that_look_alike_have_pods_of_their_own(namespace: Namespace) -> None:
    long = "J" + "x" * 61 + "Z"
    jobs = ["Caps", "caps", "with.dots", "with-dots", long]
    async with PodManager("app", namespace.name) as one, PodManager("app-a", namespace.name) as other:
        first, second = Bench(one), Bench(other)
        first.shell("a_b", "echo first a_b {{ job }}", jobs=jobs)
        first.shell("a-b", "echo first a-b {{ job }}", jobs=jobs)
        second.shell("b", "echo second b {{ job }}", jobs=["caps"])
        second.shell("a_b", "echo second a_b {{ job }}", jobs=["caps"])

        await first.run()
        await second.run()

    for task in ("a_b", "a-b"):
        assert first.logs[task] == {job: f"first {task} {job}\n".encode() for job in jobs}
    assert second.logs == {"b": {"caps": b"second b caps\n"}, "a_b": {"caps": b"second a_b caps\n"}}
    assert await namespace.pods() == []


async def test_the_record_tells_the_code_of_each_container_and_the_log_has_all(manager: PodManager) -> None:
    bench = Bench(manager)
    both = manifest("echo main; exit 3") + (
        "  - name: side\n    image: {{ image }}\n    command: [sh, -c, 'echo side']\n"
    )
    bench.task("pair", both, env={"image": BUSYBOX})

    await bench.run()

    record = bench.done["pair"]["job"]
    assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 3)
    assert record["return_codes"] == {"main": 3, "side": 0}
    assert bench.logs["pair"]["job"] == b"==> main <==\nmain\n==> side <==\nside\n"
