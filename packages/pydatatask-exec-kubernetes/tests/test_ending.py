"""Pods that are to end, and whoever wanted that was kept from bringing it about."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from namespaces import DEADLINE, Namespace, manifest
from pipelines import Bench
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.site import RunName, Sighting
from pydatatask_exec_kubernetes import KubeTask, PodManager
from pydatatask_exec_kubernetes.manifest import read_manifest
from pydatatask_exec_kubernetes.pod import LivePod
from pydatatask_exec_kubernetes.status import Ending, sighting_of
from scripted import pod, says, scripted
from typing_extensions import override

pytestmark = pytest.mark.slow


def is_running(pods: list[dict[str, Any]]) -> bool:
    return bool(pods) and pods[0]["status"]["phase"] == "Running"


@pytest.mark.parametrize("node", [True, False], ids=["running", "on-no-node"])
@pytest.mark.parametrize(
    ("word", "result"), [("cancelled", ("cancelled", "cancelled")), ("dropped", None)], ids=["kill", "delete"]
)
async def test_an_end_that_was_written_down_is_brought_about_by_the_next_controller(
    namespace: Namespace, manager: PodManager, node: bool, word: str, result: tuple[str, str] | None
) -> None:
    bench = Bench(manager)
    task = bench.shell("task", "echo another")
    more = "" if node else f"  nodeSelector: {{{namespace.name}: nowhere}}\n"
    spec = read_manifest(manifest("echo begun; sleep 1000", more=more), "the manifest", counted=False)
    assert await manager.claim(RunName("task", "job", 1), task.owner, spec) is not None
    (found,) = await namespace.until(lambda pods: pods if is_running(pods) or not node else None, "it runs")
    await namespace.kubectl("annotate", "pod", found["metadata"]["name"], f"pydatatask/end={word}")

    async with asyncio.timeout(DEADLINE):
        await bench.run()

    record = bench.done["task"]["job"]
    expected = result or ("success", None)
    assert (record["result"], record.get("cause")) == expected
    assert bench.logs["task"]["job"] == (b"another\n" if result is None else b"begun\n" if node else b"")
    assert await namespace.pods() == []


async def test_a_timeout_that_could_not_be_carried_out_at_once_is_later(
    manager: PodManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, failures, handled = manager.end, [SiteUnavailableError("out of reach")], []

    async def flaky(sighting: Sighting, ending: Ending, why: str | None = None) -> None:
        if failures:
            raise failures.pop()
        await end(sighting, ending, why)

    class Handling(KubeTask):
        @override
        async def handle_timeout(self, pod: LivePod) -> None:
            handled.append(pod)

    monkeypatch.setattr(manager, "end", flaky)
    bench = Bench(manager)
    bench.shell("task", "sleep 1000", timeout=2, kind=Handling)

    async with asyncio.timeout(DEADLINE):
        await bench.run()

    assert bench.done["task"]["job"]["result"] == "timeout"
    assert len(handled) == 1


async def test_a_pod_that_its_cluster_ends_is_left_to_it() -> None:
    disrupted = pod("job", 1)
    disrupted["status"]["conditions"] = [
        {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "no room"}
    ]
    seen = sighting_of(disrupted, "app")
    assert seen is not None
    assert seen.identity["ending"] == "TerminationByKubelet"
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", says(disrupted))
        await manager.go_on_ending(seen)
    assert [kind for kind, _ in script.asked] == ["get"]


async def test_how_a_pod_ended_is_not_read_from_another_one_of_its_name() -> None:
    ended = sighting_of(pod("job", 1, "Succeeded"), "app")
    assert ended is not None
    successor = pod("job", 2)
    successor["metadata"]["uid"] = "another"
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", says(successor))
        found = await manager.finish(evolve(ended, result=None, cause=None))
    assert (found.result, found.cause) == ("lost", "lost")
