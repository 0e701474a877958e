"""The life of runs on a host: who runs, what is adopted, cancelled, lost and swept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ..errors import ConflictError, MissingJobError, SiteUnavailableError
from ..runs.host import ProcessManager
from ..runs.observation import Observation
from ..runs.site import Phase, RunName, Sighting
from ..task.run import Dropped
from .host_suite import HostSuite, Scene, until

__all__ = ["HostRunTests"]

LOG = 'echo "{{ job }} $$" >> ../../../log\n'
"""Notes a start in the app's folder."""


def ended(seen: Sighting) -> bool:
    """Whether a run has ended, and it is known how."""
    return seen.phase is Phase.ENDED and seen.result is not None


def running(seen: Sighting) -> bool:
    """Whether a run has begun and not ended."""
    return seen.phase is Phase.RUNNING


class HostRunTests(HostSuite):
    """Part of :class:`ProcessManagerTests`."""

    async def starts(self, manager: ProcessManager) -> list[str]:
        """Give the jobs that began, and forget them."""
        said = await self.on_host('cd "$1" && { [ ! -e log ] || cat log; rm -f log; }', manager.basedir)
        return [line.split()[0] for line in said.splitlines()]

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
            await self._written(scene, b"begun\n")
            async with other.followed():
                assert await other.task.end("job", how)
            result = await asyncio.wait_for(following, self.deadline)
        assert isinstance(result, Dropped) == (how == "dropped")
        return scene.records.get("job")

    async def _written(self, scene: Scene, output: bytes) -> None:
        run = (await scene.task.site.look("task", "job"))[-1].run

        async def there() -> bool:
            try:
                async with await scene.task.site.open_output(run, "stdout") as file:
                    return await file.read() == output
            except MissingJobError:
                return False

        await until(there, f"{output!r} was written", self.deadline)

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

    async def test_a_supervisor_that_was_killed_is_a_lost_run(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        scene = self.scene(manager, f"echo begun\nsleep 1000 & echo $! > {pids}; wait")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await scene.task.site.start(run)
            seen = await self.seen(observation, run, running, "it runs")
            child = await self.pid_in(pids)
            await self.end(seen.identity["pid"])
            lost = await self.seen(observation, run, ended, "it was found lost")
            assert (lost.result, lost.cause) == ("lost", "lost")
            assert not await self.lives(child), "what the lost run left in its group lives"
        record = await scene.run()
        assert record["result"] == "lost"
        assert scene.outputs["job"] == b"begun\n"

    async def test_a_job_does_not_begin_when_its_run_was_found_lost(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            # As whoever finds the supervisor dead writes it, before looking for the job.
            await self.on_host('echo 1 > "$1/task@job/1/lost"', manager.basedir)
            await scene.task.site.start(run)
            assert (await self.seen(observation, run, ended, "it ended")).return_code == 125
        assert await self.starts(manager) == []

    async def test_a_supervisor_is_deaf_to_what_ends_a_session(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "while [ ! -e ../../../go ]; do sleep 0.05; done")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await scene.task.site.start(run)
            seen = await self.seen(observation, run, running, "it runs")
            await self.on_host('kill -HUP "$1"; kill -INT "$1"; kill -QUIT "$1"', str(seen.identity["pid"]))
            await self.on_host('echo > "$1/go"', manager.basedir)
            assert (await self.seen(observation, run, ended, "it ended")).result == "success"

    async def test_a_supervisor_that_the_host_ends_leaves_a_lost_run(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "trap 'echo bye; exit 3' TERM\necho begun\nwhile :; do sleep 0.05; done")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await scene.task.site.start(run)
            seen = await self.seen(observation, run, running, "it runs")
            await self._written(scene, b"begun\n")
            # As a host does that goes down.
            await self.on_host('kill -TERM "$1"', str(seen.identity["pid"]))
            await self.seen(observation, run, ended, "it ended")
        record = await scene.run()
        assert (record["result"], record["cause"], record["return_code"]) == ("lost", "lost", 3)
        assert scene.outputs["job"] == b"begun\nbye\n"

    async def test_a_run_that_ended_meanwhile_is_not_taken_for_lost(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "exit 4")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            claimed = (await scene.task.site.look("task", "job"))[-1]
            await scene.task.site.start(run)
            last = await self.seen(observation, run, ended, "it ended")
            for seen in (claimed, last):
                assert (await scene.task.site.finish(seen)).return_code == 4
            assert (await scene.task.site.look("task", "job"))[-1].return_code == 4

    async def test_a_pid_that_another_process_has_now_proves_nothing(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        pids = f"{self.base(manager)}.pid"
        await self.on_host(
            'setsid sh -c \'echo $$ > "$1"; exec sleep 1000\' sh "$1" </dev/null >/dev/null 2>&1 &', pids
        )
        foreign = await self.pid_in(pids)
        async with scene.followed():
            await self.claimed(scene)
            # As if it had been started by a supervisor of that number, earlier than the process began.
            await self.on_host(
                'cd "$1/task@job/1" && read -r boot < /proc/sys/kernel/random/boot_id &&'
                ' echo "$2 1 $boot $(readlink /proc/self/ns/pid) 170000000000" > start && echo "$2 1" > group',
                manager.basedir,
                str(foreign),
            )
        record = await scene.run()
        assert record["result"] == "lost"
        assert await self.lives(foreign), "somebody else's process was killed"
        await self.end(foreign)

    async def test_a_run_of_before_the_machine_started_anew_is_lost(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            await self.claimed(scene)
            await self.on_host(
                'cd "$1/task@job/1" && read -r stat < /proc/1/stat && set -- ${stat##*) } &&'
                ' echo "1 ${20} another-boot $(readlink /proc/self/ns/pid) 170000000000" > start',
                manager.basedir,
            )
        assert (await scene.run())["result"] == "lost"

    async def test_whether_a_run_of_another_namespace_lives_is_not_known(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            await self.on_host(
                'cd "$1/task@job/1" && read -r boot < /proc/sys/kernel/random/boot_id &&'
                ' echo "1 1 $boot pid:[1] 170000000000" > start',
                manager.basedir,
            )
        async with scene.followed() as observation:
            seen = await self.seen(observation, run, running, "it was seen")
            assert "namespace" in str(seen.reason)

    async def test_a_run_whose_folder_vanished_is_not_killed(self, manager: ProcessManager) -> None:
        await self._vanishes(manager, f"{manager.basedir}/task@job")

    async def test_a_base_folder_that_vanished_kills_nothing(self, manager: ProcessManager) -> None:
        await self._vanishes(manager, self.base(manager))

    async def _vanishes(self, manager: ProcessManager, path: str) -> None:
        pids = f"{self.base(manager)}.pid"
        scene = self.scene(manager, f"echo $$ > {pids}; while [ ! -e {pids}.go ]; do sleep 0.05; done")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await scene.task.site.start(run)
            seen = await self.seen(observation, run, running, "it runs")
            pid = await self.pid_in(pids)
            await self.on_host('rm -rf "$1"', path)
            found = await scene.task.site.vanished(seen)
            assert found.phase is Phase.RUNNING, "it was given up though it lives"
            assert await self.lives(pid), "it was killed"
            await self.on_host('echo > "$1.go"', pids)

            async def over() -> bool:
                return (await scene.task.site.vanished(seen)).result == "lost"

            await until(over, "it was given up when it had ended", self.deadline)
            assert not await self.lives(pid)
        # The folder is made again for who claims next.
        assert (await self.scene(manager, "true").run("next"))["result"] == "success"

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

    async def test_the_site_says_when_it_cannot_tell_the_end(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            await self.on_host(
                'cd "$1/task@job/1" && echo "1 1 another-boot pid:[1] 170000000000" > start && mkdir lost',
                manager.basedir,
            )
            (seen,) = await scene.task.site.look("task", "job")
            with pytest.raises(SiteUnavailableError):
                await scene.task.site.finish(seen)
            await self.on_host('rmdir "$1/task@job/1/lost"', manager.basedir)
            assert (await scene.task.site.finish(seen)).result == "lost"
            assert run == seen.run

    async def test_leftovers_of_those_who_died_are_swept_by_who_watches_next(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await self.on_host('cd "$1" && mkdir -p .new/half/1 .old/rest/1', manager.basedir)
        assert (await self.scene(manager, "true").run())["result"] == "success"
        await self.nothing_is_left(manager)
