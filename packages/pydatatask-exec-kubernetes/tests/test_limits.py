"""How long pods may take, and may take to begin."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import evolve
from namespaces import manifest
from pipelines import Bench
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.testing import simulate
from pydatatask_exec_kubernetes import KubeTask, LivePod, PodManager
from pydatatask_exec_kubernetes.naming import END
from pydatatask_exec_kubernetes.status import sighting_of
from scripted import pod, says, scripted
from typing_extensions import override

RUN = RunName("some", "job", 1)


class Curious(KubeTask):
    @override
    async def handle_timeout(self, pod: LivePod) -> None: ...


class Confused(KubeTask):
    @override
    async def handle_timeout(self, pod: LivePod) -> None:
        raise ValueError(pod.name)


class Endless(KubeTask):
    @override
    async def handle_timeout(self, pod: LivePod) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("options", "more", "seconds"),
    [
        ({}, "", None),
        ({"timeout": 2.5}, "", 3),
        ({"timeout": 10}, "  activeDeadlineSeconds: 5\n", 5),
        ({"timeout": 10}, "  activeDeadlineSeconds: 50\n", 10),
        # The hook is called when the time is up, and the cluster leaves it five minutes.
        ({"timeout": 10, "kind": Curious}, "", 310),
    ],
)
async def test_the_cluster_ends_a_pod_whose_time_is_up(options: dict[str, Any], more: str, seconds: int | None) -> None:
    bench = Bench(PodManager("app", "nowhere"))
    task = bench.task("some", manifest("true", more=more), **options)

    assert (await task.make(RUN))["spec"].get("activeDeadlineSeconds") == seconds


def test_patience_begins_anew_when_a_pod_gets_stuck_again() -> None:
    def seen(reason: str | None) -> Sighting:
        return Sighting(run=RUN, owner="", claim="one", phase=Phase.CLAIMED, reason=reason)

    async def main() -> None:
        task = Bench(PodManager("app", "nowhere")).task("some", manifest("true"), patience=20)
        assert await task.attend(seen("ImagePullBackOff: no such image")) == 20
        await asyncio.sleep(5)
        assert await task.attend(seen("ErrImagePull: no such image")) == 15
        assert (await task.attend(seen(None)) or 0) > 20
        assert await task.attend(seen("Unschedulable: 0/1 nodes are available")) == await task.attend(seen(None))
        assert await task.attend(seen("ErrImagePull: no such image")) == 20

    simulate(main)


@pytest.mark.parametrize("kind", [Curious, Confused, Endless])
async def test_a_pod_ends_whatever_becomes_of_the_hook(kind: type[KubeTask], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydatatask_exec_kubernetes.task.HOOK", 0.2)
    found = sighting_of(pod("job", 5), "app")
    assert found is not None
    seen = evolve(found, run=RUN)
    noted = pod("job", 6)
    noted["metadata"]["annotations"] = {END: "timeout"}
    async with scripted() as (script, manager):
        script.on("patch", says(noted))
        bench = Bench(manager)
        task = bench.task("some", manifest("true"), timeout=1, kind=kind)
        async with bench.session:
            assert await task.attend(seen) is None
            assert len(script.of("patch")) == 2
            # What was asked for may not have been done. The hook is called once.
            called: list[LivePod] = []
            monkeypatch.setattr(task, "handle_timeout", called.append)
            assert await task.attend(seen) is None

    assert len(script.of("patch")) == 4
    assert called == []
