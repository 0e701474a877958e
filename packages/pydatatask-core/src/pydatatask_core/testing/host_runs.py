"""The life of runs on a host: who runs, what is adopted, cancelled and swept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ..errors import ConflictError, SiteUnavailableError
from ..runs.host import HostFiles, ProcessManager
from ..runs.observation import Observation
from ..runs.site import Phase, RunName
from ..task.run import Dropped
from .host_suite import LOG, HostSuite, Scene, ended, running

__all__ = ["HostRunTests"]


class HostRunTests(HostSuite):
    """Part of :class:`ProcessManagerTests`."""

    async def test_a_live_run_is_adopted(self, manager: ProcessManager, twin: ProcessManager) -> None:
        script = LOG + "while [ ! -e ../../../go ]; do sleep 0.05; done; echo done"
        first, second = self.scene(manager, script), self.scene(twin, script)
        async with first.followed() as observation:
            following = asyncio.ensure_future(first.task.run("job"))
            async with asyncio.timeout(self.deadline):
                while not (last := observation.latest("task", "job")) or not running(last):
                    await observation.change("task", "job", last)
            following.cancel()
            await asyncio.wait({following})
        assert list(await second.task.live_jobs()) == ["job"]
        await second.task.released()
        await self.on_host('echo > "$1/go"', manager.basedir)
        record = await second.run()
        assert record["result"] == "success"
        assert second.outputs["job"] == b"done\n"
        assert await self.starts(manager) == ["job"]

    async def test_a_run_that_ended_meanwhile_is_reaped(self, manager: ProcessManager, twin: ProcessManager) -> None:
        script = LOG + "echo done; exit 5"
        first, second = self.scene(manager, script), self.scene(twin, script)
        async with first.followed() as observation:
            run = await self.claimed(first)
            await first.task.site.start(run)
            await self.seen(observation, run, ended, "it ended")
        record = await second.run()
        assert record["return_code"] == 5
        assert second.outputs["job"] == b"done\n"
        assert await self.starts(manager) == ["job"]

    async def test_a_claim_that_was_never_started_is_started(
        self, manager: ProcessManager, twin: ProcessManager
    ) -> None:
        first, second = self.scene(manager, LOG), self.scene(twin, LOG)
        async with first.followed():
            await self.claimed(first)
        record = await second.run()
        assert record["result"] == "success"
        assert await self.starts(manager) == ["job"]

    async def test_output_is_followed_from_before_its_beginning(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo first; sleep 0.3; printf last")
        async with scene.followed(), asyncio.timeout(self.deadline):
            run = await self.claimed(scene)
            following = asyncio.ensure_future(scene.task.site.follow_output(run, "stdout"))
            await asyncio.wait({following}, timeout=0.2)
            await scene.task.site.start(run)
            async with await following as output:
                assert await output.read() == b"first\nlast"

    async def test_a_run_of_another_pipeline_is_a_conflict(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            await self.claimed(scene, owner="0123456789abcdef")
        assert list(await scene.task.live_jobs()) == []
        with pytest.raises(ConflictError, match="another app name"):
            await scene.task.run("job")
        await scene.task.released()
        assert await self.starts(manager) == []
        assert "./task@job/claim" in await self.left(manager)

    async def test_cancelled_before_its_start_it_never_begins(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            assert await scene.task.end("job", "cancelled")
            await scene.task.site.start(run)
            assert [seen.result for seen in await scene.task.site.look("task", "job")] == ["cancelled"]
            # However late a supervisor comes, the start is taken.
            assert (await self.on_host('cat "$1/task@job/1/start"', manager.basedir)).startswith("0 ")
        record = await scene.run()
        assert (record["result"], record["cause"]) == ("cancelled", "cancelled")
        assert await self.starts(manager) == []

    async def test_cancelled_while_it_runs_it_ends_with_a_record(
        self, manager: ProcessManager, twin: ProcessManager
    ) -> None:
        scene, other = self.scene(manager, "echo begun; sleep 1000"), self.scene(twin, "")
        record = await self._ended_by(scene, other, "cancelled")
        assert (record["result"], record["cause"]) == ("cancelled", "cancelled")
        assert scene.outputs["job"] == b"begun\n"

    async def test_dropped_while_it_runs_it_leaves_no_record(
        self, manager: ProcessManager, twin: ProcessManager
    ) -> None:
        scene, other = self.scene(manager, "echo begun; sleep 1000"), self.scene(twin, "")
        assert await self._ended_by(scene, other, "dropped") is None
        assert scene.records == scene.outputs == {}
        await self.nothing_is_left(manager)

    async def _ended_by(self, scene: Scene, other: Scene, how: Any) -> Any:
        """Run a job until it has begun, have somebody else end it, and give the record."""
        async with scene.followed() as observation:
            following = asyncio.ensure_future(scene.task.run("job"))
            async with asyncio.timeout(self.deadline):
                while not (last := observation.latest("task", "job")) or not running(last):
                    await observation.change("task", "job", last)
            await self.written(scene, b"begun\n")
            async with other.followed():
                assert await other.task.end("job", how)
            result = await asyncio.wait_for(following, self.deadline)
        assert isinstance(result, Dropped) == (how == "dropped")
        return scene.records.get("job")

    async def test_ending_what_is_not_there(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "true")
        async with scene.followed():
            assert not await scene.task.end("job", "cancelled")

    async def test_the_next_attempt_is_beside_the_last(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG + "exit 1")
        async with scene.followed() as observation:
            site = scene.task.site
            run = await self.claimed(scene)
            await site.start(run)
            await self.seen(observation, run, ended, "it ended")
            second = run._replace(attempt=2)
            claimed = await site.claim(second, scene.task.owner, await scene.task.make(second))
            assert claimed is not None
            assert claimed.phase is Phase.CLAIMED
            assert await site.claim(second, scene.task.owner, await scene.task.make(second)) is None
            await site.start(second)
            await self.seen(observation, second, lambda seen: seen.run == second and ended(seen), "the second ended")
            assert [(seen.run.attempt, seen.result) for seen in await site.look("task", "job")] == [
                (1, "failure"),
                (2, "failure"),
            ]
            await site.release("task", "job")
        assert await self.starts(manager) == ["job", "job"]
        await self.nothing_is_left(manager)

    async def test_attempts_are_seen_in_their_order(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            for attempt in (10, 2):
                later = run._replace(attempt=attempt)
                await scene.task.site.claim(later, scene.task.owner, await scene.task.make(later))
            assert [seen.run.attempt for seen in await scene.task.site.look("task", "job")] == [1, 2, 10]
            await scene.task.site.release("task", "job")

    async def test_the_next_attempt_is_made_though_the_claim_of_the_last_vanished(
        self, manager: ProcessManager
    ) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            await self.on_host('rm -rf "$1/task@job"', manager.basedir)
            second = run._replace(attempt=2)
            assert await scene.task.site.claim(second, scene.task.owner, await scene.task.make(second)) is not None
            (seen,) = await scene.task.site.look("task", "job")
            assert (seen.run, seen.owner) == (second, scene.task.owner)
            await scene.task.site.release("task", "job")

    async def test_a_claim_that_vanishes_while_the_next_attempt_is_made_in_it(
        self, manager: ProcessManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene = self.scene(manager, LOG)
        claim = manager.claim

        async def too_late(path: str, files: HostFiles) -> bool:
            await self.on_host('rm -rf "$1/task@job"', manager.basedir)
            return await claim(path, files)

        async with scene.followed():
            second = (await self.claimed(scene))._replace(attempt=2)
            monkeypatch.setattr(manager, "claim", too_late)
            with pytest.raises(SiteUnavailableError, match="vanished"):
                await scene.task.site.claim(second, scene.task.owner, await scene.task.make(second))
        assert await self.left(manager) == []

    async def test_two_race_for_one_claim(self, manager: ProcessManager, twin: ProcessManager) -> None:
        await self.race(manager, twin, self.rounds)

    @pytest.mark.campaign
    async def test_two_race_for_one_claim_a_thousand_times(self, manager: ProcessManager, twin: ProcessManager) -> None:
        await self.race(manager, twin, 1000)

    async def race(self, manager: ProcessManager, twin: ProcessManager, rounds: int) -> None:
        """Have two controllers claim and start the same jobs at the same time; each runs once."""
        scenes = self.scene(manager, LOG), self.scene(twin, LOG)
        async with scenes[0].followed() as observation, scenes[1].followed():
            for first in range(0, rounds, self.at_a_time):
                # A host that tells once per interval tells of all of them.
                numbers = range(first, min(first + self.at_a_time, rounds))
                await asyncio.gather(*(self._round(scenes, observation, number) for number in numbers))
            assert sorted(await self.starts(manager)) == sorted(f"job{number}" for number in range(rounds))
        await self.nothing_is_left(manager)

    async def _round(self, scenes: tuple[Scene, Scene], observation: Observation, number: int) -> None:
        job = f"job{number}"
        made = await asyncio.gather(*(self._claims_and_starts(scene, job) for scene in scenes))
        assert sorted(made) == [False, True], job
        await self.seen(observation, RunName("task", job, 1), ended, "it ended")
        await scenes[number % 2].task.site.release("task", job)
        observation.forget("task", job)

    async def _claims_and_starts(self, scene: Scene, job: str) -> bool:
        run = RunName(scene.task.name, job, 1)
        made = await scene.task.site.claim(run, scene.task.owner, await scene.task.make(run))
        await scene.task.site.start(run)
        return made is not None

    async def test_leftovers_of_those_who_died_are_swept_by_who_watches_next(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await self.on_host('cd "$1" && mkdir -p .new/half/1 .old/rest/1', manager.basedir)
        assert (await self.scene(manager, "true").run())["result"] == "success"
        await self.nothing_is_left(manager)
