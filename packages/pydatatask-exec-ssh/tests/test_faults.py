"""Connections that break and hang, disks that are full: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, ProcessTask, Resources, Session
from pydatatask_core.errors import SiteFullError, SiteUnavailableError
from pydatatask_core.runs.host import HostFile
from pydatatask_core.task.run import Ended
from pydatatask_core.testing.host_verbs import Pattern
from pydatatask_exec_ssh import SSHLinuxManager
from ssh_server import SSHServer, ssh_server
from typing_extensions import override

DEADLINE = 60.0


@pytest.fixture(scope="module")
def machine() -> Iterator[SSHServer]:
    with ssh_server(tmpfs={"/small": "size=8m,mode=1777,exec"}) as server:
        yield server


@pytest.fixture
def victim(machine: SSHServer) -> Iterator[SSHServer]:
    yield machine
    machine.up()


@pytest.fixture
async def fragile(victim: SSHServer, base: str) -> AsyncIterator[SSHLinuxManager]:
    """A manager that notices within two seconds that the server hangs."""
    async with SSHLinuxManager("app", victim.connect, base, keepalive=0.5) as manager:
        yield manager


def task_of(
    manager: SSHLinuxManager, script: str, **options: Any
) -> tuple[ProcessTask, dict[str, Any], dict[str, Any]]:
    outputs, records = InProcessBlobRepository(), InProcessMetadataRepository()
    pids = InProcessMetadataRepository()
    task = ProcessTask(
        "task", lambda: manager, None, Resources(), pids, script, done=records, stdout=outputs, **options
    )
    return task, outputs.data, records.data


async def until(found: Callable[[], Awaitable[bool] | bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        result = found()
        if result if isinstance(result, bool) else await result:
            return
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def to_the_end(lines: AsyncIterator[str]) -> None:
    async with asyncio.timeout(DEADLINE):
        async for _ in lines:
            pass


async def test_the_server_is_killed_while_jobs_run(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    log = f"{fragile.basedir}/log"
    script = f"echo {{{{ job }}}} >> {log}\nwhile [ ! -e {log}.go ]; do sleep 0.05; done\necho done {{{{ job }}}}"
    task, outputs, records = task_of(fragile, script)
    jobs = [f"j{number}" for number in range(10)]
    await task.live_jobs()
    try:
        runs = [asyncio.ensure_future(task.run(job)) for job in jobs]

        async def begun() -> bool:
            said = await asyncio.to_thread(victim.sh, f"[ ! -e {log} ] || cat {log}")
            return len(said.split()) == len(jobs)

        await until(begun, "all jobs began")
        await asyncio.to_thread(victim.kill, down=True)
        await asyncio.to_thread(victim.sh, f"touch {log}.go")
        with pytest.raises(SiteUnavailableError):
            await fragile.sh("true")
        await asyncio.to_thread(victim.up)
        ended = await asyncio.wait_for(asyncio.gather(*runs), DEADLINE)
    finally:
        await task.released()
    assert all(isinstance(end, Ended) and end.record.succeeded for end in ended)
    assert outputs == {job: f"done {job}\n".encode() for job in jobs}
    assert sorted(victim.sh(f"cat {log}").split()) == sorted(jobs), "a job ran twice, or not at all"
    assert len(records) == len(jobs)


async def test_credentials_that_become_wrong_while_jobs_run_are_told_and_nothing_is_lost(
    victim: SSHServer, base: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pydatatask_exec_ssh.line.LONGEST", 1.0)
    log = f"{base}.log"
    keys = {"client_keys": [victim.key]}
    script = f"echo {{{{ job }}}} >> {log}\nwhile [ ! -e {log}.go ]; do sleep 0.05; done\necho done {{{{ job }}}}"
    async with SSHLinuxManager("app", lambda: victim.connect(**keys), base, keepalive=0.5) as manager:
        task, outputs, _ = task_of(manager, script)
        await task.live_jobs()
        try:
            runs = [asyncio.ensure_future(task.run(job)) for job in ("one", "two")]

            async def begun() -> bool:
                return len((await asyncio.to_thread(victim.sh, f"[ ! -e {log} ] || cat {log}")).split()) == 2

            await until(begun, "both began")
            keys["client_keys"] = [asyncssh.generate_private_key("ssh-ed25519")]
            await asyncio.to_thread(victim.kill)
            await until(lambda: "refuses the login" in caplog.text, "the refusal was told")
            await asyncio.to_thread(victim.sh, f"touch {log}.go")
            keys["client_keys"] = [victim.key]
            ended = await asyncio.wait_for(asyncio.gather(*runs), DEADLINE)
        finally:
            await task.released()
    assert all(isinstance(end, Ended) and end.record.succeeded for end in ended)
    assert outputs == {"one": b"done one\n", "two": b"done two\n"}
    assert sorted(victim.sh(f"cat {log}").split()) == ["one", "two"]


@pytest.mark.parametrize("round_", range(3))
async def test_the_server_is_killed_while_an_output_is_on_its_way(
    victim: SSHServer, fragile: SSHLinuxManager, round_: int
) -> None:
    size = 64 << 20
    task, outputs, records = task_of(fragile, f"head -c {size} /dev/urandom | tee {fragile.basedir}.copy")
    await task.live_jobs()
    try:
        run = asyncio.ensure_future(task.run("job"))
        # The transfer begins when the run has ended.
        await until(lambda: bool(_reading(fragile)) or run.done(), "the transfer began")
        assert not run.done()
        await asyncio.to_thread(victim.kill)
        await asyncio.wait_for(run, DEADLINE)
    finally:
        await task.released()
    assert records["job"]["result"] == "success"
    assert hashlib.sha256(outputs["job"]).hexdigest() == victim.sh(f"sha256sum < {fragile.basedir}.copy").split()[0]


def _reading(manager: SSHLinuxManager) -> bool:
    return any(getattr(task.get_coro(), "__qualname__", "") == "RemoteReader._fetch" for task in asyncio.all_tasks())


async def test_the_server_is_killed_while_an_input_is_on_its_way(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    class Fatal(Pattern):
        @override
        async def read(self, n: int = -1, /) -> bytes:
            if self.given == 8 << 20:
                await asyncio.to_thread(victim.kill)
            return await super().read(n)

    async with fragile.watch():
        with pytest.raises(SiteUnavailableError):
            await fragile.claim("task@job", {"stdin": HostFile(Fatal(32 << 20))})
    await asyncio.to_thread(victim.wait)
    async with fragile.watch():
        await fragile.sweep()
        assert victim.sh(f"cd {fragile.basedir} && ls -A | grep -v stamp; ls -A .new .old").split() == [
            *(".new", ".old", ".new:", ".old:")
        ]


async def test_a_sweep_leaves_what_is_being_staged(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    class Swept(Pattern):
        @override
        async def read(self, n: int = -1, /) -> bytes:
            await fragile.sweep()
            return await super().read(n)

    async with fragile.watch():
        await asyncio.to_thread(victim.sh, f"mkdir {fragile.basedir}/.new/left-over")
        assert await fragile.claim("task@job", {"stdin": HostFile(Swept(1 << 20))})
        assert victim.sh(f"ls -A {fragile.basedir}/.new {fragile.basedir}/task@job | grep -v :").split() == ["stdin"]


async def test_a_server_that_hangs_is_noticed(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    async with fragile.watch() as lines:
        assert await anext(lines) == "all"
        await asyncio.to_thread(victim.container.pause)
        try:
            with pytest.raises(SiteUnavailableError):
                await to_the_end(lines)
        finally:
            await asyncio.to_thread(victim.container.unpause)

    async def again() -> bool:
        try:
            return await fragile.sh("echo back") == "back\n"
        except SiteUnavailableError:
            return False

    await until(again, "the connection was made again")


async def test_while_a_host_is_away_all_is_told_at_once_and_it_is_not_stormed(victim: SSHServer, base: str) -> None:
    attempts: list[float] = []

    async def ssh() -> asyncssh.SSHClientConnection:
        attempts.append(time.monotonic())
        return await victim.connect()

    async with SSHLinuxManager("app", ssh, base) as manager:
        await manager.sh("true")
        await asyncio.to_thread(victim.kill, down=True)
        try:
            began, asked = time.monotonic(), 0
            # Whoever waited for an attempt each time would wait for minutes.
            async with asyncio.timeout(DEADLINE):
                while asked <= 500 or time.monotonic() - began < 4:
                    told = await asyncio.gather(*(manager.sh("true") for _ in range(20)), return_exceptions=True)
                    assert all(isinstance(error, SiteUnavailableError) for error in told)
                    asked += len(told)
                    await asyncio.sleep(0.02)
        finally:
            took, made = time.monotonic() - began, len(attempts)
            await asyncio.to_thread(victim.up)
        # One to begin with, one at once; then after at least 0.5, 1, 2 seconds, and so on.
        assert 2 <= made <= 2 + math.log2(1 + took / 0.5), attempts


async def test_a_resource_is_opened_anew_when_its_connection_broke(victim: SSHServer, base: str) -> None:
    session = Session()
    made: list[asyncssh.SSHClientConnection] = []

    @session.resource
    async def ssh() -> AsyncIterator[asyncssh.SSHClientConnection]:
        async with asyncssh.connect(**victim.options()) as connection:
            made.append(connection)
            yield connection

    async with session, SSHLinuxManager("app", ssh, base) as manager:
        await manager.sh("true")
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.wait)

        async def again() -> bool:
            try:
                return await manager.sh("echo back") == "back\n"
            except SiteUnavailableError:
                return False

        await until(again, "the connection was made again")
        assert await manager.sh("echo back") == "back\n"
        assert len(made) == 2
    assert all(connection.is_closed() for connection in made)


async def test_a_shell_that_was_killed_is_started_again(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    async with fragile.watch() as lines:
        assert await anext(lines) == "all"
        await asyncio.to_thread(victim.kill_all, "sh -s -- /tmp*")
        with pytest.raises(SiteUnavailableError):
            await to_the_end(lines)

    async def again() -> bool:
        try:
            return await fragile.claim("task@job", {"claim": HostFile(b"")})
        except SiteUnavailableError:
            return False

    await until(again, "a claim was made")


async def test_nothing_of_ours_stays_on_the_host(victim: SSHServer, base: str) -> None:
    async def shells() -> bool:
        said = await asyncio.to_thread(victim.sh, f"busybox ps -o args | grep -c '[s]h -s -- {base}' || :")
        return int(said) == 0

    manager = SSHLinuxManager("app", victim.connect, base)
    async with manager.watch():
        assert not await shells()
    await until(shells, "the shells ended when the watch did")
    async with manager:
        await manager.sh("true")
        await asyncio.to_thread(victim.kill)
        await until(shells, "the shells ended when the server did")


async def test_no_more_channels_are_open_than_allowed(victim: SSHServer, base: str) -> None:
    async with SSHLinuxManager("app", victim.connect, base, channels=5) as manager, manager.watch():
        marks = f"{base}.marks"
        program = f"mkdir -p {marks}; : > {marks}/$$; ls {marks} | wc -l; sleep 0.5; rm {marks}/$$"
        counts = await asyncio.gather(*(manager.sh(program) for _ in range(12)))
    assert max(int(count) for count in counts) == 2, "three of five channels are open all the time"


async def test_a_host_without_room(victim: SSHServer) -> None:
    async with SSHLinuxManager("app", victim.connect, "/small/base") as manager, manager.watch():
        with pytest.raises(SiteFullError, match=r"no room in /small/base/app.*remote_path"):
            await manager.claim("task@job", {"stdin": HostFile(Pattern(32 << 20))})

        async def clean() -> bool:
            return not (
                await asyncio.to_thread(
                    victim.sh, "ls -A /small/base/app/.new /small/base/app/task@job 2>&1 | grep -v : || :"
                )
            ).split()

        await until(clean, "nothing is left")
        assert await manager.claim("task@job", {"stdin": HostFile(b"small")})


async def test_a_claim_that_cannot_be_renamed_is_no_claim_that_stands(
    victim: SSHServer, fragile: SSHLinuxManager
) -> None:
    async with fragile.watch():
        await asyncio.to_thread(victim.sh, f"chmod 500 {fragile.basedir}")
        with pytest.raises(SiteUnavailableError, match="make task@job"):
            await fragile.claim("task@job", {"claim": HostFile(b"")})
        await asyncio.to_thread(victim.sh, f"chmod 700 {fragile.basedir}")
        assert await fragile.claim("task@job", {"claim": HostFile(b"")})


async def test_a_host_whose_disk_fills_while_a_job_runs(victim: SSHServer) -> None:
    async with SSHLinuxManager("app", victim.connect, "/small/other") as manager:
        task, _, records = task_of(manager, "cat /dev/zero")
        await task.live_jobs()
        try:
            run = asyncio.ensure_future(task.run("job"))
            await until(lambda: _full(victim), "the disk is full")
            # It has no room for the record of the end; then it has.
            await asyncio.to_thread(victim.sh, "rm /small/other/app/task@job/1/stdout")
            await asyncio.wait_for(run, DEADLINE)
        finally:
            await task.released()
    assert (records["job"]["result"], records["job"]["return_code"]) == ("failure", 1)


async def _full(server: SSHServer) -> bool:
    said = await asyncio.to_thread(server.sh, "df -k /small | tail -n 1")
    return int(said.split()[3]) == 0


@pytest.mark.campaign
async def test_a_gibibyte_of_output_within_bounded_memory(victim: SSHServer, fragile: SSHLinuxManager) -> None:
    size = 1 << 30
    async with fragile.watch():
        await fragile.claim("task@job", {"claim": HostFile(b"")})
        await fragile.sh(f"head -c {size} /dev/zero > {fragile.basedir}/task@job/stdout")
        before, count, began = _resident(), 0, time.monotonic()
        async with await fragile.open("task@job/stdout") as file:
            while data := await file.read(1 << 18):
                count += len(data)
        print(f"{count / (time.monotonic() - began) / 1e6:.0f} MB/s, {(_resident() - before) >> 10} KiB more")
        await fragile.remove("task@job")
    assert count == size
    assert _resident() - before < 64 << 20


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
