"""Runs that are lost, vanish, or only seem to: what ends them, and what counts as proof."""

from __future__ import annotations

import pytest
from attrs import evolve

from ..errors import SiteUnavailableError
from ..runs.host import ProcessManager
from ..runs.site import Phase
from .host_suite import LOG, HostSuite, ended, running, until

__all__ = ["HostLossTests"]


class HostLossTests(HostSuite):
    """Part of :class:`ProcessManagerTests`."""

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
            assert lost.start_time is not None
            assert lost.end_time is not None
            assert lost.start_time <= lost.end_time
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
            await self.written(scene, b"begun\n")
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

    async def test_what_runs_now_is_not_ended_for_a_run_of_before_the_machine_started_anew(
        self, manager: ProcessManager
    ) -> None:
        scene = self.scene(manager, LOG)
        pids = f"{self.base(manager)}.pid"
        await self.on_host(
            'setsid sh -c \'echo $$ > "$1"; exec sleep 1000\' sh "$1" </dev/null >/dev/null 2>&1 &', pids
        )
        foreign = await self.pid_in(pids)
        async with scene.followed():
            await self.claimed(scene)
            # Counted from another start, its time may be the same.
            await self.on_host(
                'cd "$1/task@job/1" && read -r stat < "/proc/$2/stat" && set -- "$2" ${stat##*) } &&'
                ' echo "$1 ${21} another-boot $(readlink /proc/self/ns/pid) 170000000000" > start &&'
                ' echo "$1 ${21}" > group',
                manager.basedir,
                str(foreign),
            )
        assert (await scene.run())["result"] == "lost"
        assert await self.lives(foreign), "somebody else's process was killed"
        await self.end(foreign)

    async def test_a_run_that_lives_is_not_finished(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "while [ ! -e ../../../go ]; do sleep 0.05; done; exit 4")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await scene.task.site.start(run)
            seen = await self.seen(observation, run, running, "it runs")
            # Its job leads a group of its own by then.
            await self.pid_in(f"{manager.basedir}/task@job/1/group")
            assert (await scene.task.site.finish(seen)).phase is Phase.RUNNING
            await self.on_host('echo > "$1/go"', manager.basedir)
            assert (await self.seen(observation, run, ended, "it ended")).return_code == 4

    async def test_a_cancellation_that_was_interrupted_is_none_the_less_one(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            await self.claimed(scene)
            # It won the start, and died before it said so.
            await self.on_host(
                'cd "$1/task@job/1" && read -r boot < /proc/sys/kernel/random/boot_id && echo cancelled > cancel &&'
                ' echo "0 0 $boot $(readlink /proc/self/ns/pid) 170000000000" > start',
                manager.basedir,
            )
        assert (await scene.run())["result"] == "cancelled"
        assert await self.starts(manager) == []

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

    async def test_whether_a_vanished_run_of_another_namespace_lives_is_not_known(
        self, manager: ProcessManager
    ) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            run = await self.claimed(scene)
            (claimed,) = await scene.task.site.look("task", "job")
            boot = (await self.on_host("cat /proc/sys/kernel/random/boot_id")).strip()
            identity = {"pid": 1, "ticks": 1, "boot": boot, "namespace": "pid:[1]"}
            last = evolve(claimed, phase=Phase.RUNNING, identity=identity)
            await scene.task.site.release("task", "job")
            found = await scene.task.site.vanished(last)
            assert (found.run, found.phase) == (run, Phase.RUNNING)

    async def test_a_run_that_is_there_when_it_is_looked_for_has_not_vanished(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "exit 4")
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            (claimed,) = await scene.task.site.look("task", "job")
            assert (await scene.task.site.vanished(claimed)).phase is Phase.CLAIMED
            await scene.task.site.start(run)
            await self.seen(observation, run, ended, "it ended")
            assert (await scene.task.site.vanished(claimed)).return_code == 4

    async def test_a_run_that_vanishes_before_its_end_is_written_down_is_lost(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, LOG)
        async with scene.followed():
            await self.claimed(scene)
            (claimed,) = await scene.task.site.look("task", "job")
            await self.on_host('rm -rf "$1/task@job"', manager.basedir)
            assert (await scene.task.site.finish(claimed)).result == "lost"

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
