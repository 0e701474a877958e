"""Pods that a quota of the namespace has no room for: who tries, who waits, and for how long."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field
from namespaces import DEADLINE, Namespace, manifest
from pipelines import Bench
from pydatatask_core import Pipeline, Resources
from pydatatask_core.errors import SiteFullError
from pydatatask_core.runs.site import RunName
from pydatatask_core.testing import simulate
from pydatatask_exec_kubernetes import PodManager
from pydatatask_exec_kubernetes.room import NoRoomError, Room
from scripted import Script, lists, says, scripted, streams

FULL = 'pods "x" is forbidden: exceeded quota: few'
TOLD = f"Cannot create pods in namespace space: a quota of the namespace has no room now. {FULL}"
SMALL, LARGE = Resources.parse("1m", "8Mi"), Resources.parse("4", "8Gi")


@define
class Quota:
    """Jobs that claim pods in a room, as tasks do, and a quota that says what fits; in simulated time."""

    free: dict[Resources, int]
    room: Room = field(factory=Room)
    tries: list[tuple[float, str]] = field(factory=list)
    made: list[str] = field(factory=list)
    waiting: list[asyncio.Task[bool]] = field(factory=list)

    def want_all(self, number: int) -> None:
        for job in range(number):
            self.waiting.append(self.want(f"job-{job}"))

    def want(self, job: str, need: Resources = SMALL) -> asyncio.Task[bool]:
        return asyncio.create_task(self._want(job, need))

    async def _want(self, job: str, need: Resources) -> bool:
        run, line = RunName("task", job, 1), None
        try:
            while True:
                try:
                    self.claim(run, need)
                except NoRoomError as error:
                    line = error.line
                else:
                    return True
                if not await line.turn(("task", job)):
                    return False
        finally:
            if line is not None:
                line.step_out(("task", job))

    def claim(self, run: RunName, need: Resources) -> None:
        self.room.check(run, need)
        self.tries.append((asyncio.get_running_loop().time(), run.job))
        if not self.free[need]:
            raise self.room.refused(run, need, SiteFullError(FULL))
        self.free[need] -= 1
        self.made.append(run.job)
        self.room.taken(run, need)

    def has_room(self, more: int, need: Resources = SMALL) -> None:
        """As many pods of ours have ended."""
        self.free[need] += more
        self.room.look_soon()

    def times(self) -> list[float]:
        return [when for when, _ in self.tries]


def simulated(free: int, story: Callable[[Quota], Coroutine[Any, Any, None]]) -> Quota:
    quota = Quota({SMALL: free, LARGE: 0})

    async def main() -> None:
        try:
            await story(quota)
        finally:
            for one in quota.waiting:
                one.cancel()
            await asyncio.gather(*quota.waiting, return_exceptions=True)

    simulate(main)
    return quota


def test_one_is_tried_ever_more_rarely_while_the_others_wait_in_line() -> None:
    async def story(quota: Quota) -> None:
        quota.want_all(100)
        await asyncio.sleep(150)

    quota = simulated(0, story)

    assert quota.times() == [0, 1, 3, 7, 15, 31, 61, 91, 121]
    assert [job for _, job in quota.tries] == [f"job-{number}" for number in (0, 0, 1, 2, 3, 4, 5, 6, 7)]


def test_when_one_is_taken_the_next_is_tried_at_once_until_one_is_refused() -> None:
    async def story(quota: Quota) -> None:
        quota.want_all(10)
        await asyncio.sleep(0.5)
        quota.free[SMALL] = 4
        await asyncio.sleep(1)

    quota = simulated(0, story)

    assert quota.times() == [0, 1, 1, 1, 1, 1]
    assert len(quota.made) == 4


def test_after_one_was_taken_the_next_that_is_refused_waits_for_a_short_time() -> None:
    async def story(quota: Quota) -> None:
        quota.want_all(10)
        await asyncio.sleep(10)
        quota.free[SMALL] = 2
        await asyncio.sleep(8)

    assert simulated(0, story).times() == [0, 1, 3, 7, 15, 15, 15, 17]


def test_when_all_have_left_a_line_another_begins() -> None:
    async def story(quota: Quota) -> None:
        first = quota.want("first")
        await asyncio.sleep(20)
        first.cancel()
        await asyncio.sleep(0)
        quota.waiting.append(quota.want("second"))
        await asyncio.sleep(2)

    assert simulated(0, story).times() == [0, 1, 3, 7, 15, 20, 21]


def test_when_a_pod_of_ours_has_ended_somebody_tries_soon_and_no_more_often_than_each_second() -> None:
    async def story(quota: Quota) -> None:
        quota.want_all(10)
        await asyncio.sleep(20)
        assert quota.times()[-1] == 15
        quota.has_room(1)
        for _ in range(10):
            await asyncio.sleep(0.125)
            quota.room.look_soon()
        assert [when for when in quota.times() if when > 20] == [21, 21]

    assert len(simulated(0, story).made) == 1


def test_when_all_have_room_the_line_is_forgotten() -> None:
    async def story(quota: Quota) -> None:
        first = [quota.want(f"first-{number}") for number in range(5)]
        await asyncio.sleep(0)
        quota.free[SMALL] = 100
        assert await asyncio.gather(*first) == [True] * 5
        quota.want_all(5)
        await asyncio.sleep(0)

    quota = simulated(0, story)

    assert quota.times() == [0, *[1.0] * 10]


def test_pods_that_request_something_else_are_tried_by_themselves() -> None:
    async def story(quota: Quota) -> None:
        quota.waiting.append(quota.want("large", LARGE))
        await asyncio.sleep(0)
        assert await quota.want("small") is True

    assert simulated(1, story).made == ["small"]


@pytest.mark.parametrize("sooner", [-1e-10, 1e-10])
def test_whoever_leaves_gives_his_turn_to_the_next(sooner: float) -> None:
    async def story(quota: Quota) -> None:
        first = quota.want("first")
        second = quota.want("second")
        third = quota.want("third")
        await asyncio.sleep(0.5)
        quota.free[SMALL] = 1
        first.cancel()
        # Its turn comes in the same round of the loop in which it is cancelled, or just before.
        asyncio.get_running_loop().call_at(1.0 + sooner, second.cancel)
        assert await third is True
        assert asyncio.get_running_loop().time() == pytest.approx(1)

    assert simulated(0, story).made == ["third"]


def test_whoever_does_not_claim_when_it_is_his_turn_holds_up_nobody() -> None:
    async def story(quota: Quota) -> None:
        async def idle() -> None:
            run = RunName("task", "idle", 1)
            with pytest.raises(NoRoomError) as full:
                quota.claim(run, SMALL)
            assert await full.value.line.turn(("task", "idle")) is True
            quota.free[SMALL] = 1
            full.value.line.step_out(("task", "idle"))

        idler = asyncio.create_task(idle())
        await asyncio.sleep(0)
        assert await quota.want("busy") is True
        await idler
        assert asyncio.get_running_loop().time() == 1

    simulated(0, story)


def test_a_refusal_that_nobody_waits_after_keeps_nobody_from_trying() -> None:
    async def story(quota: Quota) -> None:
        with pytest.raises(NoRoomError):
            quota.claim(RunName("task", "other", 1), SMALL)
        quota.free[SMALL] = 1
        assert await quota.want("job") is True
        assert asyncio.get_running_loop().time() == 0

    simulated(0, story)


@define
class Creates:
    """A server's answers to creates: refused while there is no room."""

    room: int = 0
    refusals: list[float] = field(factory=list)
    """When each was."""
    made: int = 0
    at_once: int = 0
    most: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            body = await request.json()
            await asyncio.sleep(0.01)
        finally:
            self.at_once -= 1
        if not self.room:
            self.refusals.append(time.monotonic())
            return web.json_response({"kind": "Status", "code": 403, "message": FULL}, status=403)
        self.room -= 1
        self.made += 1
        body["metadata"] |= {"uid": body["metadata"]["name"], "resourceVersion": str(100 + self.made)}
        return web.json_response({**body, "status": {"phase": "Pending"}}, status=201)

    def script(self, script: Script) -> None:
        script.on("list", lists(10))
        script.on("watch", streams(stays=True))
        script.on("create", self.answer)


async def until(found: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not found():
            await asyncio.sleep(0.01)


async def test_jobs_that_wait_make_no_requests_are_told_and_go_on() -> None:
    creates = Creates()
    async with scripted() as (script, manager):
        creates.script(script)
        bench = Bench(manager)
        jobs = [f"job-{number}" for number in range(50)]
        task = bench.shell("some", "true", jobs=jobs)
        async with bench.running() as controller:
            await until(lambda: all(task.waits_for(job) for job in jobs))
            first = len(creates.refusals)
            creates.most = 0
            await until(lambda: len(creates.refusals) == first + 2)
            assert creates.refusals[-1] - creates.refusals[-2] > 1.9
            assert creates.most == 1
            assert {task.waits_for(job) for job in jobs} == {TOLD}
            creates.room = 1000
            await until(lambda: creates.made == 50 and not any(task.waits_for(job) for job in jobs))
            assert len(creates.refusals) == first + 2
            assert creates.most == 1
            assert not controller.lanes[0].waiting


async def test_a_controller_that_stops_takes_back_the_jobs_that_wait_for_room() -> None:
    creates = Creates()
    async with scripted() as (script, manager):
        creates.script(script)
        bench = Bench(manager)
        jobs = [f"job-{number}" for number in range(50)]
        task = bench.shell("some", "true", jobs=jobs)
        async with bench.running() as controller:
            await until(lambda: all(task.waits_for(job) for job in jobs) and not creates.at_once)
            creates.room = 1000
            controller.stop()
            await until(lambda: not controller.lanes[0].running)
        assert creates.made == 0
        assert task.waits_for("job-0") is None


async def test_a_controller_that_does_not_wait_for_ends_does_not_wait_for_room() -> None:
    creates = Creates()
    async with scripted() as (script, manager):
        creates.script(script)
        bench = Bench(manager)
        bench.shell("some", "true", jobs=["one", "two"])
        async with Pipeline(bench.tasks, bench.session) as pipeline, asyncio.timeout(DEADLINE):
            await pipeline.make_controller(leave=True).run(launch_once=True)

    assert creates.made == 0


async def test_a_pod_that_exists_already_gives_its_turn_to_the_next() -> None:
    """A create whose answer was lost, say: its job is followed for as long as the pod runs."""
    asked: list[str] = []

    async def exists(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        asked.append(body["metadata"]["labels"]["pydatatask/job"])
        if len(asked) != 3:
            return web.json_response({"kind": "Status", "code": 403, "message": FULL}, status=403)
        there = {**body, "metadata": {**body["metadata"], "uid": "a", "resourceVersion": "20"}}
        script.on("get", says(there))
        script.answers["list"] = [lists(20, there)]
        return web.json_response({"kind": "Status", "code": 409, "message": "already exists"}, status=409)

    async with scripted() as (script, manager):
        script.on("list", lists(10))
        script.on("watch", streams(stays=True))
        script.on("create", exists)
        bench = Bench(manager)
        task = bench.shell("some", "true", jobs=["one", "two"])
        async with bench.running():
            await until(lambda: len(asked) == 4)
            await until(lambda: task.seen(asked[2]))
            assert asked[3] != asked[2]
            assert task.waits_for(asked[2]) is None


@pytest.mark.slow
async def test_a_full_quota_of_a_namespace_is_waited_for_by_one(namespace: Namespace, manager: PodManager) -> None:
    def quota(pods: int) -> dict[str, Any]:
        spec = {"hard": {"count/pods": str(pods)}}
        return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": spec}

    async def is_known(pods: int) -> None:
        async with asyncio.timeout(DEADLINE):
            told = ""
            while told != str(pods):
                status = json.loads(await namespace.kubectl("get", "resourcequota", "few", "-o", "json"))["status"]
                told = status.get("hard", {}).get("count/pods", "")

    await namespace.apply(quota(0))
    await is_known(0)
    jobs = [f"job-{number}" for number in range(12)]
    bench = Bench(manager)
    task = bench.task("some", manifest("true"), jobs=jobs)
    requests = manager.cluster.requests
    async with bench.running() as controller:
        await until(lambda: all(task.waits_for(job) for job in jobs))
        first = requests["create pods"]
        # Each was tried once at most, and one more each second since.
        assert first <= 24
        await until(lambda: requests["create pods"] >= first + 2)
        assert "exceeded quota: few" in (task.waits_for("job-11") or "")
        begun, before = time.monotonic(), requests["create pods"]
        await namespace.apply(quota(3))
        await until(lambda: len(bench.done["some"]) == 12)
        seconds = time.monotonic() - begun
        assert not controller.lanes[0].set_aside

    assert {record["result"] for record in bench.done["some"].values()} == {"success"}
    # One for each, and one in vain each second at most: each pod that ends may make room, which takes time to be seen.
    assert requests["create pods"] - before <= 12 + seconds + 2, (requests, seconds)
