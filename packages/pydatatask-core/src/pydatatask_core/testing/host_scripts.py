"""What becomes of scripts on a host: their ends, what they read, write and leave running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typing_extensions import override

from ..errors import TemplateError
from ..repository.memory import InProcessBlobRepository
from ..runs.host import ProcessManager
from ..runs.site import RunName
from ..task.script import STDOUT
from .host_suite import HostSuite, Scene, running, until
from .host_verbs import Pattern

__all__ = ["HostScriptTests"]

AWKWARD = {
    "EMPTY": "",
    "SPACES": "  two  words ",
    "LINES": "one\ntwo\n",
    "QUOTES": """it's "quoted" `so`""",
    "DOLLAR": "$HOME ${HOME} $(id)",
    "BACKSLASHES": "\\ \\n \\\\",
    "BRACES": "{} {a,b} [x]* ~ ! # % & ; | < >",
    "TABS": "\ta\rb",
    "UNICODE": "caf\u00e9 \u2603 \U0001f600",
}


class HostScriptTests(HostSuite):
    """Part of :class:`ProcessManagerTests`."""

    async def test_a_script_succeeds(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo out\necho err >&2\n")
        before = time.time()
        record = await scene.run()
        assert record["result"] == "success"
        assert record["return_code"] == 0
        assert record["host"] == manager.host
        assert before - 5 < record["start_time"].timestamp() <= record["end_time"].timestamp() < time.time() + 5
        assert scene.outputs["job"] == b"out\n"
        assert scene.errors["job"] == b"err\n"
        assert scene.pids == {}
        await self.nothing_is_left(manager)

    async def test_a_script_fails(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo before; exit 3")
        record = await scene.run()
        assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 3)
        assert scene.outputs["job"] == b"before\n"

    async def test_a_script_ends_by_a_signal(self, manager: ProcessManager) -> None:
        record = await self.scene(manager, "kill -SEGV $$; sleep 100").run()
        assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 139)

    async def test_a_script_that_takes_too_long(self, manager: ProcessManager) -> None:
        record = await self.scene(manager, "echo begun; sleep 100", timeout=0.5).run()
        assert (record["result"], record["cause"]) == ("timeout", "timeout")
        assert (record["end_time"] - record["start_time"]).total_seconds() < 30

    @pytest.mark.parametrize("ends", ["by itself", "in its grace"])
    async def test_nothing_of_a_supervisor_outlives_its_run(self, manager: ProcessManager, ends: str) -> None:
        pids = f"{self.base(manager)}.pid"
        script = f"trap exit TERM; echo $PPID > {pids}\n"
        if ends == "by itself":
            await self.scene(manager, script, timeout=1000).run()
        else:
            script += "while :; do sleep 0.05; done"
            await self.scene(manager, script, timeout=3, grace=1000).run()
        supervisor = str(await self.pid_in(pids))
        # A process's session is the fourth number behind its name.
        found = 'for p in /proc/[0-9]*; do sed "s/.*) //" $p/stat 2>/dev/null; done | while read -r a b c session d; do'
        found += ' [ "$session" != "$1" ] || echo left; done'

        async def gone() -> bool:
            return not await self.on_host(found, supervisor)

        await until(gone, "nothing is left of the supervisor's session", self.deadline)

    async def _timed_out(self, scene: Scene, ready: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Run a job whose time is up when it is ready, as its timer would say it, and give the done record."""
        async with scene.followed() as observation, asyncio.TaskGroup() as group:
            run = group.create_task(scene.task.run("job"))
            seen = await self.seen(observation, RunName("task", "job", 1), running, "it runs")
            await ready()
            await self.on_host('kill -ALRM "$1"', str(seen.identity["pid"]))
            await run
        record: dict[str, Any] = scene.records["job"]
        return record

    async def test_what_ends_in_its_grace_says_so(self, manager: ProcessManager) -> None:
        script = "trap 'echo bye; exit 7' TERM\necho begun\nwhile :; do sleep 0.05; done"
        scene = self.scene(manager, script, timeout=1000, grace=60)
        record = await self._timed_out(scene, lambda: self.written(scene, b"begun\n"))
        assert (record["result"], record["return_code"]) == ("timeout", 7)
        assert scene.outputs["job"] == b"begun\nbye\n"

    async def test_a_script_that_ignores_term_is_killed(self, manager: ProcessManager) -> None:
        script = "trap '' TERM\necho begun\nwhile :; do sleep 0.05; done"
        scene = self.scene(manager, script, timeout=1000, grace=0.5)
        record = await self._timed_out(scene, lambda: self.written(scene, b"begun\n"))
        assert (record["result"], record["return_code"]) == ("timeout", 137)

    async def test_a_timeout_ends_the_whole_group(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        script = f"sh -c 'trap \"\" TERM; echo $$ > {pids}; while :; do sleep 0.05; done' & wait"
        scene = self.scene(manager, script, timeout=1000, grace=2)
        record = await self._timed_out(scene, lambda: self.pid_in(pids))
        assert record["result"] == "timeout"
        assert not await self.lives(await self.pid_in(pids))

    async def test_what_is_left_running_in_the_group_is_ended(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        scene = self.scene(manager, f"echo made\n(echo $PPID > /dev/null; sleep 1000) & echo $! > {pids}", grace=0.3)
        record = await scene.run()
        assert (record["result"], record["return_code"]) == ("success", 0)
        assert scene.outputs["job"] == b"made\n"
        assert not await self.lives(await self.pid_in(pids))

    async def test_at_a_timeout_the_whole_group_is_asked_before_it_is_killed(self, manager: ProcessManager) -> None:
        child = "trap 'echo bye; exit' TERM; echo begun; while :; do sleep 0.05; done"
        scene = self.scene(manager, f'sh -c "{child}" & wait', timeout=1000, grace=10)
        record = await self._timed_out(scene, lambda: self.written(scene, b"begun\n"))
        assert record["result"] == "timeout"
        assert scene.outputs["job"] == b"begun\nbye\n"

    async def test_what_is_left_running_in_the_group_is_asked_before_it_is_killed(
        self, manager: ProcessManager
    ) -> None:
        child = "trap 'echo bye; exit' TERM; echo > ready; while :; do sleep 0.05; done"
        script = f'sh -c "{child}" & while [ ! -e ready ]; do sleep 0.05; done'
        scene = self.scene(manager, script, grace=30)
        record = await scene.run()
        assert (record["result"], scene.outputs["job"]) == ("success", b"bye\n")
        assert (record["end_time"] - record["start_time"]).total_seconds() < 20

    async def test_what_is_left_in_the_group_and_ignores_term_is_killed(self, manager: ProcessManager) -> None:
        child = "trap '' TERM; echo > ready; while :; do sleep 0.05; done"
        script = f'sh -c "{child}" & while [ ! -e ready ]; do sleep 0.05; done'
        async with asyncio.timeout(self.deadline):
            record = await self.scene(manager, script, grace=0.3).run()
        assert (record["result"], record["return_code"]) == ("success", 0)

    async def test_a_zombie_in_the_group_keeps_no_run_from_its_end(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        # Its parent left the group, and does not ask for it.
        script = f"(true & echo $! > zombie; exec setsid sh -c 'echo $$ > {pids}; exec sleep 1000') >/dev/null 2>&1 &"
        scene = self.scene(manager, f"{script}\nwhile [ ! -s {pids} ]; do sleep 0.05; done", grace=0.3)
        async with asyncio.timeout(self.deadline):
            record = await scene.run()
        assert record["result"] == "success"
        await self.end(await self.pid_in(pids))

    async def test_what_is_left_in_the_group_is_known_by_whatever_name(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        lines = "#!/bin/sh\\nmkfifo pipe; echo > ready; read -r line < pipe\\n"
        script = (
            f"printf '{lines}' > 'a) Z 1 (b'; chmod 700 a*; './a) Z 1 (b' & echo $! > {pids}\n"
            "while [ ! -e ready ]; do sleep 0.05; done"
        )
        record = await self.scene(manager, script, grace=0.3).run()
        assert record["result"] == "success"
        assert not await self.lives(await self.pid_in(pids))

    async def test_a_daemon_that_left_the_session_survives(self, manager: ProcessManager) -> None:
        pids = f"{self.base(manager)}.pid"
        daemon = f"setsid sh -c 'echo $$ > {pids}; exec sleep 1000' < /dev/null > /dev/null 2>&1 &"
        record = await self.scene(manager, f"{daemon}\nwhile [ ! -s {pids} ]; do sleep 0.05; done").run()
        assert record["result"] == "success"
        pid = await self.pid_in(pids)
        assert await self.lives(pid)
        await self.end(pid)

    async def test_a_script_that_closes_its_outputs(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo one; exec >&- 2>&-\nsleep 0.3; exit 4")
        record = await scene.run()
        assert record["return_code"] == 4
        assert (scene.outputs["job"], scene.errors["job"]) == (b"one\n", b"")

    async def test_binary_output(self, manager: ProcessManager) -> None:
        octal = "".join(f"\\{byte:03o}" for byte in range(256))
        scene = self.scene(manager, f"printf '{octal}'; printf '{octal}' >&2")
        await scene.run()
        assert scene.outputs["job"] == scene.errors["job"] == bytes(range(256))

    async def test_output_and_errors_in_the_order_in_which_they_are_written(self, manager: ProcessManager) -> None:
        script = "for n in 1 2 3 4 5; do echo out$n; echo err$n >&2; done"
        scene = self.scene(manager, script, stderr=STDOUT)
        await scene.run()
        assert scene.outputs["job"].decode().split() == [f"{word}{n}" for n in range(1, 6) for word in ("out", "err")]
        assert scene.errors == {}

    async def test_a_large_output(self, manager: ProcessManager) -> None:
        size = self.megabytes << 20
        scene = self.scene(manager, f"head -c {size} /dev/zero")
        await scene.run()
        assert scene.outputs["job"] == bytes(size)

    async def test_standard_input(self, manager: ProcessManager) -> None:
        given = bytes(range(256)) * 1000
        scene = self.scene(manager, "cat", stdin={"job": given})
        await scene.run()
        assert scene.outputs["job"] == given

    async def test_standard_input_is_empty_if_none_is_given(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "cat; echo end")
        await scene.run()
        assert scene.outputs["job"] == b"end\n"

    async def test_an_input_that_is_not_read(self, manager: ProcessManager) -> None:
        record = await self.scene(manager, "exec true", stdin={"job": bytes(1 << 20)}).run()
        assert record["result"] == "success"

    @pytest.mark.parametrize("variable", AWKWARD)
    async def test_an_environment_of_awkward_characters(self, manager: ProcessManager, variable: str) -> None:
        value = AWKWARD[variable]
        # Its value is text for the template, too.
        text = "{{ " + repr(value) + " }}"
        scene = self.scene(manager, f'printf %s "${variable}"', environ={variable: text})
        await scene.run()
        assert scene.outputs["job"].decode() == value

    async def test_a_script_knows_its_job(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo {{ task }} {{ job }} {{ argv0 }} $JOB", environ={"JOB": "{{ job }}"})
        await scene.run()
        argv0 = f"{manager.basedir}/task@job/1/script"
        assert scene.outputs["job"].decode().split() == ["task", "job", argv0, "job"]

    async def test_a_script_begins_in_an_empty_folder_of_its_own(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "pwd; ls -A; echo > kept; mkdir -p a/b; chmod 0 a/b; chmod 500 a")
        await scene.run()
        assert scene.outputs["job"].decode() == f"{manager.basedir}/task@job/1/cwd\n"
        await self.nothing_is_left(manager)

    async def test_a_script_leads_a_session_and_hears_signals(self, manager: ProcessManager) -> None:
        scene = self.scene(
            manager,
            "read -r pid name state ppid group session rest < /proc/$$/stat\n"
            "echo $pid $group $session\ngrep -E '^Sig(Ign|Blk)' /proc/self/status",
        )
        await scene.run()
        pids, *signals = scene.outputs["job"].decode().splitlines()
        assert len(set(pids.split())) == 1
        # A shell has what it starts in the background ignore INT and QUIT. What is beyond 31 comes from who tests.
        assert [int(line.split()[1], 16) & 0x7FFFFFFF & ~0b110 for line in signals] == [0, 0]

    async def test_an_interpreter_that_does_not_exist(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "#!/no/such/interpreter\necho hi\n")
        record = await scene.run()
        assert (record["result"], record["cause"]) == ("failure", "exit")
        assert record["return_code"] in {126, 127}
        assert scene.errors["job"] != b"", "nobody says why"

    async def test_a_script_without_a_first_line_that_names_an_interpreter(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo shell")
        record = await scene.run()
        assert (record["result"], scene.outputs["job"]) == ("success", b"shell\n")

    async def test_a_script_with_line_ends_of_windows(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "#!/bin/sh\r\necho hi\r\n")
        record = await scene.run()
        assert (record["result"], scene.outputs["job"]) == ("success", b"hi\n")

    @pytest.mark.parametrize("job", ["1", "0job", "a.b.c", "1.0", "a" * 63, "A-b_c.d"])
    async def test_jobs_of_every_shape(self, manager: ProcessManager, job: str) -> None:
        scene = self.scene(manager, "echo {{ job }}")
        record = await scene.run(job)
        assert record["result"] == "success"
        assert scene.outputs[job].decode() == f"{job}\n"

    @pytest.mark.parametrize("wrong", ["{{ absent }}", "{{ job.absent }}", "{{ stdout2.path }}"])
    async def test_an_error_in_a_template_names_the_variable(self, manager: ProcessManager, wrong: str) -> None:
        scene = self.scene(manager, f"echo {wrong}")
        async with scene.followed():
            with pytest.raises(TemplateError, match=r"absent|stdout2"):
                await scene.task.run("job")
        assert await self.left(manager) == []

    async def test_an_input_that_breaks_off_starts_nothing(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "cat", stdin={"other": b""})
        async with scene.followed():
            with pytest.raises(LookupError, match="job"):
                await scene.task.run("job")
            await self.nothing_is_left(manager)

    async def test_what_a_store_gives_is_streamed(self, manager: ProcessManager) -> None:
        large = Pattern(self.megabytes << 20)

        class Patterns(InProcessBlobRepository):
            @override
            async def open(self, job: str, mode: str = "r", /) -> Pattern:  # type: ignore[override]  # reading alone
                return large

        scene = self.scene(manager, "sha256sum")
        scene.task.stdin = Patterns()
        record = await scene.run()
        assert record["result"] == "success"
        assert scene.outputs["job"].split()[0].decode() == large.digest.hexdigest()
        assert large.largest <= 4 << 20

    async def test_many_at_once(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, "echo {{ job }}; exit {{ job[1:] }}")
        jobs = [f"j{number}" for number in range(40)]
        async with scene.followed():
            await asyncio.gather(*(scene.task.run(job) for job in jobs))
        assert {job: record["return_code"] for job, record in scene.records.items()} == {
            job: number for number, job in enumerate(jobs)
        }
        assert scene.outputs == {job: f"{job}\n".encode() for job in jobs}
        await self.nothing_is_left(manager)
