"""One controller per pipeline: the lock file of one machine, and the lease for several."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core import (
    ExecutorTask,
    InProcessMetadataRepository,
    InProcessSyncTask,
    LockHeldError,
    Pipeline,
    Session,
    StoreUnavailableError,
)
from pydatatask_core.pipeline.lease import Lease
from pydatatask_core.pipeline.lock import FileLock, PipelineLock
from pydatatask_core.testing import Fail, Faults, always, faulty
from pydatatask_core.testing.blocking import Allowances
from typing_extensions import override

TERM = 0.3
LONG_TERM = 4.0
"""Seconds, for what must happen in time: a machine may stand still for one."""


@pytest.fixture
def may_block() -> Allowances:
    """These tests wait for processes."""
    return {"test_lock.py": ("hold_in_a_process",)}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


HOLD = """
import asyncio, os, sys
from pydatatask_core.pipeline.lock import FileLock
async def main():
    await FileLock(sys.argv[1]).acquire(lambda: None)
    if sys.argv[2] == "fork" and os.fork() == 0:
        os.close(1)
        while os.read(0, 1):
            pass
        os._exit(0)
    print(os.getpid(), flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def hold_in_a_process(script: str, mode: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, script, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    process.wait()


async def test_a_second_controller_is_refused_naming_the_first() -> None:
    first = await asyncio.to_thread(hold_in_a_process, "main.py")
    try:
        lock = FileLock("main.py")
        holder = await lock.holder()
        assert holder is not None
        assert holder.pid == first.pid
        with pytest.raises(LockHeldError, match=f"process {first.pid} on {holder.host}, since 20"):
            await lock.acquire(lambda: None)
    finally:
        await asyncio.to_thread(end, first)


@pytest.mark.parametrize("mode", ["", "fork"])
async def test_the_lock_file_frees_itself_at_once_when_its_holder_is_killed(mode: str) -> None:
    first = await asyncio.to_thread(hold_in_a_process, "main.py", mode)
    await asyncio.to_thread(end, first)
    lock = FileLock("main.py")
    assert await lock.holder() is None
    await lock.acquire(lambda: None)
    await lock.release()


async def test_one_process_holds_a_lock_once_and_asking_does_not_free_it() -> None:
    one, other = FileLock("main.py"), FileLock("main.py")
    await one.acquire(lambda: None)
    holder = await other.holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    with pytest.raises(LockHeldError):
        await other.acquire(lambda: None)
    assert await asyncio.to_thread(holder_seen_by_another, "main.py") == str(os.getpid())
    await one.release()
    await other.acquire(lambda: None)
    await other.release()


ASK = """
import asyncio, sys
from pydatatask_core.pipeline.lock import FileLock
print(asyncio.run(FileLock(sys.argv[1]).holder()).pid)
"""


def holder_seen_by_another(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", ASK, script], check=True, capture_output=True, text=True
    ).stdout.strip()


async def test_of_many_threads_that_want_a_free_lock_file_exactly_one_gets_it() -> None:
    for _ in range(20):
        locks = [FileLock("main.py") for _ in range(10)]
        got = await asyncio.gather(*(lock.acquire(lambda: None) for lock in locks), return_exceptions=True)
        assert got.count(None) == 1
        await asyncio.gather(*(lock.release() for lock in locks))


async def test_asking_who_holds_a_lock_file_while_it_is_taken_does_not_free_it() -> None:
    for _ in range(5):
        lock = FileLock("main.py")
        asking = [FileLock("main.py").holder() for _ in range(30)]
        await asyncio.gather(*asking[:15], lock.acquire(lambda: None), *asking[15:])
        assert await asyncio.to_thread(holder_seen_by_another, "main.py") == str(os.getpid())
        await lock.release()


async def test_a_lock_file_that_was_being_taken_is_given_back_when_that_is_cancelled() -> None:
    for _ in range(20):
        lock = FileLock("main.py")
        taking = asyncio.ensure_future(lock.acquire(lambda: None))
        await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert await lock.holder() is None


async def test_scripts_have_locks_of_their_own_in_a_private_folder() -> None:
    one, other = FileLock("one/main.py"), FileLock("other/main.py")
    await one.acquire(lambda: None)
    await other.acquire(lambda: None)
    assert one.path.stat().st_mode & 0o777 == 0o600
    assert one.path.parent.stat().st_mode & 0o777 == 0o700
    await one.release()
    await other.release()


async def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreUnavailableError, match="XDG_STATE_HOME"):
        await FileLock("main.py").acquire(lambda: None)


def pipeline(lock: Any = None) -> Pipeline:
    async def nothing(job: str) -> None:
        pass

    task = InProcessSyncTask("task", InProcessMetadataRepository(), func=nothing)
    task.link("source", InProcessMetadataRepository({"a": {}}), is_input=True)
    return Pipeline([task], Session(), lock=lock)


async def test_a_pipeline_takes_its_lock_to_run_and_gives_it_back() -> None:
    leases = InProcessMetadataRepository()
    one, other = pipeline(leases), pipeline(leases)
    async with one, other:
        async with one.locked():
            with pytest.raises(LockHeldError):
                await other.run()
        await other.run()
        await one.run()


async def test_a_pipeline_that_no_script_makes_has_no_lock_of_its_own() -> None:
    assert pipeline().lock is None


async def test_of_many_that_want_a_free_lease_exactly_one_gets_it() -> None:
    for _ in range(50):
        repo = Slow()
        leases = [Lease(repo, term=TERM) for _ in range(8)]
        got = await asyncio.gather(*(lease.acquire(lambda: None) for lease in leases), return_exceptions=True)
        assert [result for result in got if result is None] == [None]
        assert all(isinstance(result, LockHeldError) for result in got if result is not None)
        await asyncio.gather(*(lease.release() for lease in leases))


class Slow(InProcessMetadataRepository):
    """Lets others in between its steps."""

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        await asyncio.sleep(0)
        return await super().create(job, data)

    @override
    async def info(self, job: str, /) -> Any:
        await asyncio.sleep(0)
        return await super().info(job)


async def test_a_released_lease_is_free_at_once_and_its_number_is_not_given_again() -> None:
    repo = InProcessMetadataRepository()
    for number in range(1, 4):
        lease = Lease(repo, term=TERM)
        await lease.acquire(lambda: None)
        assert list(repo.data) == [f"controller.{number}"]
        assert await lease.holder() is not None
        await lease.release()
        assert await lease.holder() is None


async def test_a_lease_is_kept_for_longer_than_its_term() -> None:
    repo = InProcessMetadataRepository()
    lease = Lease(repo, term=LONG_TERM)
    await lease.acquire(lambda: None)
    begun = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < begun + 1.5 * LONG_TERM:
        with pytest.raises(LockHeldError):
            await Lease(repo, term=LONG_TERM).acquire(lambda: None)
        await asyncio.sleep(LONG_TERM / 10)
    await lease.release()


async def test_a_lease_whose_holder_died_elsewhere_is_free_after_its_term() -> None:
    repo = InProcessMetadataRepository(
        {"controller.7": {"host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00", "beat": 3}}
    )
    lease = Lease(repo, term=TERM)
    begun = asyncio.get_running_loop().time()
    await lease.acquire(lambda: None)
    assert asyncio.get_running_loop().time() - begun >= TERM * 0.9
    assert list(repo.data) == ["controller.8"]
    await lease.release()


async def test_a_sign_of_life_is_seen_at_once_where_the_store_notifies() -> None:
    stale = {"host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}
    repo = InProcessMetadataRepository({"controller.7": {**stale, "beat": 0}})
    # Were it polled, the first look would be after minutes.
    acquiring = asyncio.ensure_future(Lease(repo, term=10_000).acquire(lambda: None))
    async with asyncio.timeout(60):
        for beat in count(1):
            await repo.dump("controller.7", {**stale, "beat": beat})
            await asyncio.sleep(0)
            if acquiring.done():
                break
    with pytest.raises(LockHeldError, match="elsewhere"):
        await acquiring


async def test_a_lease_whose_holder_died_on_this_machine_is_free_at_once() -> None:
    repo = InProcessMetadataRepository()
    first = Lease(repo, term=1000)
    await first.acquire(lambda: None)
    repo.data["controller.1"]["start"] = "another process has this number now"
    second = Lease(repo, term=1000)
    async with asyncio.timeout(60):
        await second.acquire(lambda: None)
    await second.release()


async def test_a_holder_that_cannot_renew_is_told_before_its_lease_runs_out() -> None:
    repo = InProcessMetadataRepository()
    faults = Faults()
    lease = Lease(faulty_creating(repo, faults), term=LONG_TERM)
    lost = asyncio.Event()
    await lease.acquire(lost.set)
    last_beat = asyncio.get_running_loop().time()
    faults.plan = always(Fail(StoreUnavailableError("down")), "dump")
    await lost.wait()
    assert asyncio.get_running_loop().time() - last_beat < LONG_TERM
    faults.plan = None
    await lease.release()


async def test_a_holder_that_was_overtaken_is_told() -> None:
    repo = InProcessMetadataRepository()
    lease = Lease(repo, term=TERM)
    lost = asyncio.Event()
    await lease.acquire(lost.set)
    await repo.dump("controller.2", {})
    await lost.wait()
    await lease.release()


@pytest.mark.parametrize("error", [StoreUnavailableError("down"), OSError("of a repository that translates nothing")])
async def test_whatever_keeps_a_lease_from_being_renewed_its_holder_is_told(error: Exception) -> None:
    faults = Faults()
    lease = Lease(faulty_creating(InProcessMetadataRepository(), faults), term=TERM)
    lost = asyncio.Event()
    await lease.acquire(lost.set)
    faults.plan = always(Fail(error), "dump")
    async with asyncio.timeout(60):
        await lost.wait()
    assert not lease.is_held()
    faults.plan = None
    await lease.release()


class Lagging(InProcessMetadataRepository):
    """Answers late, or never, once a key was created."""

    wait: float = 0.0
    error: Exception | None = None

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        created = await super().create(job, data)
        self.created = True
        return created

    created = False

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        if self.created:
            await asyncio.sleep(self.wait)
            if self.error is not None:
                raise self.error
        async for page in super().pages():
            yield page

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        async for page in self.pages():
            for job in page:
                yield job


async def test_a_lease_counts_from_before_it_was_written_however_long_that_took() -> None:
    repo = Lagging()
    repo.wait = TERM
    lease = Lease(repo, term=TERM)
    lost = asyncio.Event()
    await lease.acquire(lost.set)
    assert not lease.is_held()
    async with asyncio.timeout(60):
        await lost.wait()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_lease_that_was_being_taken_is_free_at_once_after_a_failure_or_cancellation(cancelled: bool) -> None:
    repo = Lagging()
    repo.wait, repo.error = (1000, None) if cancelled else (0, StoreUnavailableError("down"))
    taking = asyncio.ensure_future(Lease(repo, term=60).acquire(lambda: None))
    while not repo.created:
        await asyncio.sleep(0)
    if cancelled:
        taking.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else StoreUnavailableError):
        await taking
    repo.wait, repo.error = 0, None
    second = Lease(repo, term=60)
    async with asyncio.timeout(60):
        await second.acquire(lambda: None)
    assert second.is_held()
    await second.release()
    assert not second.is_held()


async def test_leases_over_memory_never_have_two_holders_though_they_die_and_hang() -> None:
    repo, chance = Slow(), random.Random(1)
    holders: dict[Lease, bool] = {}
    followed = 0

    async def contend(number: int) -> None:
        nonlocal followed
        while followed < 12:
            lease = Lease(repo, term=TERM)
            try:
                await lease.acquire(lambda: None)
            except LockHeldError:
                await asyncio.sleep(chance.uniform(0, TERM / 10))
                continue
            assert not any(other.is_held() for other in holders), "two hold the lease"
            followed += 1
            holders[lease] = True
            await asyncio.sleep(chance.uniform(0, TERM / 2))
            if chance.random() < 0.5:
                # It dies: nothing renews or releases it any more. What it holds it may hold until its term ends.
                assert lease._renewing is not None
                lease._renewing.cancel()
            else:
                await lease.release()
                del holders[lease]

    async with asyncio.timeout(60):
        await asyncio.gather(*(contend(number) for number in range(6)))


class Revoked(PipelineLock):
    """Says that it is held for so many launches, and does not call anybody."""

    def __init__(self, launches: int) -> None:
        self.left = launches

    @override
    async def acquire(self, lost: Callable[[], None]) -> None: ...

    @override
    async def release(self) -> None: ...

    @override
    async def holder(self) -> None: ...

    @property
    @override
    def guards(self) -> str:
        return "a test"

    @override
    def is_held(self) -> bool:
        self.left -= 1
        return self.left >= 0


async def test_nothing_is_launched_any_more_once_the_lock_is_not_surely_held() -> None:
    starts: list[str] = []

    async def notes(job: str) -> None:
        starts.append(job)

    made = InProcessSyncTask("task", InProcessMetadataRepository(), func=notes)
    made.link("source", InProcessMetadataRepository({f"j{number}": {} for number in range(50)}), is_input=True)
    async with asyncio.timeout(60), Pipeline([made], Session(), lock=Revoked(7)) as held:
        await held.run()
    assert len(starts) == 7
    async with asyncio.timeout(60), Pipeline([made], Session()) as free:
        await free.run()
    assert len(starts) == 50


async def test_what_waits_for_a_thread_does_not_begin_once_the_lock_is_not_surely_held() -> None:
    starts: list[str] = []
    go_on = threading.Event()
    lock = Revoked(1000)

    async def notes(job: str) -> None:
        starts.append(job)
        await asyncio.to_thread(go_on.wait)

    with ThreadPoolExecutor(1) as one:
        made = ExecutorTask("task", one, InProcessMetadataRepository(), func=notes)
        made.link("source", InProcessMetadataRepository({f"j{number}": {} for number in range(9)}), is_input=True)
        async with asyncio.timeout(60), Pipeline([made], Session(), lock=lock) as held:
            running = asyncio.ensure_future(held.run())
            while not starts or len(made.live.futures) < 9:
                await asyncio.sleep(0.001)
            lock.left = 0
            go_on.set()
            await running
        assert len(starts) == 1


class _Creating(InProcessMetadataRepository):
    def __init__(self, base: InProcessMetadataRepository, faults: Faults) -> None:
        super().__init__(base.data)
        self._faulty = faulty(base, faults)

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        await self._faulty.dump(job, data)


def faulty_creating(base: InProcessMetadataRepository, faults: Faults) -> InProcessMetadataRepository:
    return _Creating(base, faults)
