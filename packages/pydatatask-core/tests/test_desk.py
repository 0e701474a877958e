"""What a running controller tells those who ask at its desk, over a real socket."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core import (
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    ResourceManager,
    Resources,
    Retries,
    Session,
    StoreUnavailableError,
    Task,
)
from pydatatask_core.clock import now
from pydatatask_core.pipeline.desk import Told, ask, desk_beside
from pydatatask_core.pipeline.lock import FileLock
from pydatatask_core.pipeline.standing import Crowd, Standing
from pydatatask_core.task.run import Ended
from typing_extensions import override


@pytest.fixture
def lock(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileLock]:
    # A test's own folder may have too long a name for the sockets that tests make themselves.
    with tempfile.TemporaryDirectory(prefix="pdt-") as folder:
        monkeypatch.setenv("XDG_STATE_HOME", f"{folder}/state")
        yield FileLock(Path(folder) / "script.py")


class Stuck(InProcessSyncTask):
    """A task whose function waits until it is let go."""

    def __init__(self, name: str, jobs: int, **options: Any) -> None:
        async def wait(job: str) -> None:
            self.begun += 1
            await self.go.wait()

        options.setdefault("func", wait)
        super().__init__(name, InProcessMetadataRepository(), **options)
        self.link("source", InProcessMetadataRepository({f"j{n}": {} for n in range(jobs)}), is_input=True)
        self.go = asyncio.Event()
        self.begun = 0


@asynccontextmanager
async def running(lock: FileLock, *tasks: Task) -> AsyncIterator[Pipeline]:
    """Run tasks while the block goes on."""
    async with Pipeline(tasks, Session(), lock=lock) as pipeline:
        run = asyncio.ensure_future(pipeline.run())
        try:
            yield pipeline
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


async def told(pipeline: Pipeline, enough: Callable[[Told], bool], task: str, job: str | None = None) -> Told:
    """Ask until the answer is what it will be."""
    assert pipeline.desk is not None
    async with asyncio.timeout(20):
        while True:
            answer = await ask(pipeline.desk, task, job)
            if answer is not None and enough(answer):
                return answer
            await asyncio.sleep(0)


async def standing(pipeline: Pipeline, kind: str, task: str, job: str) -> Standing:
    def is_so(answer: Told) -> bool:
        found = answer.standings[task]
        return found is not None and found.kind == kind

    found = (await told(pipeline, is_so, task, job)).standings[task]
    assert found is not None
    return found


async def crowds_of(pipeline: Pipeline, task: str, **kinds: int) -> tuple[Crowd, ...]:
    """Ask until there are so many jobs of each kind, and no others."""

    def is_so(answer: Told) -> bool:
        counts = Counter[str]()
        for crowd in answer.crowds[task]:
            counts[crowd.standing.kind] += crowd.jobs
        return counts == kinds

    return (await told(pipeline, is_so, task)).crowds[task]


async def fails(job: str) -> None:
    raise ValueError(f"{job} is not to my taste")


async def test_a_live_job_is_told_with_its_attempt_and_since_when(lock: FileLock) -> None:
    before = now()
    async with running(lock, Stuck("only", 1)) as pipeline:
        found = await standing(pipeline, "live", "only", "j0")
        assert found.attempt == 1
        assert found.since is not None
        assert abs((datetime.fromisoformat(found.since) - before).total_seconds()) < 20


async def test_a_retry_that_is_waited_for_is_told_with_the_cause_and_when_it_is_due(lock: FileLock) -> None:
    task = Stuck("only", 1, func=fails, retries=Retries(2, delay=200, jitter=0))
    async with running(lock, task) as pipeline:
        found = await standing(pipeline, "retry", "only", "j0")
    assert (found.attempt, found.cause, found.error) == (1, "exception", "ValueError: j0 is not to my taste")
    assert found.due is not None
    assert 100 < (datetime.fromisoformat(found.due) - now()).total_seconds() < 201


async def test_a_second_attempt_that_is_live_is_told_as_one(lock: FileLock) -> None:
    failed = asyncio.Event()

    async def fails_once(job: str) -> None:
        if failed.is_set():
            await asyncio.Event().wait()
        failed.set()
        raise ValueError(job)

    task = Stuck("only", 1, func=fails_once, retries=Retries(1, delay=0))
    async with running(lock, task) as pipeline:
        await failed.wait()
        assert (await standing(pipeline, "live", "only", "j0")).attempt in {1, 2}
        second = await told(
            pipeline, lambda one: (one.standings["only"] or Standing(kind="held")).attempt == 2, "only", "j0"
        )
        assert second.standings["only"] is not None
        assert second.standings["only"].kind == "live"


async def test_a_quota_that_is_waited_for_is_told_with_what_is_in_use(lock: FileLock) -> None:
    manager = ResourceManager(Resources(2.0, 2**30))
    task = Stuck("only", 3, resource_manager=manager, job_resources=Resources(1.0, 2**20))
    async with running(lock, task) as pipeline:
        crowds = await crowds_of(pipeline, "only", quota=1, live=2)
        (waiting,) = (crowd for crowd in crowds if crowd.standing.kind == "quota")
        (live,) = (crowd for crowd in crowds if crowd.standing.kind == "live")
        assert (waiting.jobs, live.jobs) == (1, 2)
        found = await standing(pipeline, "quota", "only", waiting.examples[0])
    assert (found.lacking, found.needs) == ("cpu", "1 cpu, 1Mi mem")
    assert (found.in_use, found.quota) == ("2 cpu, 2Mi mem", "2 cpu, 1Gi mem")
    assert waiting.standing == found


async def test_jobs_behind_one_of_higher_priority_wait_for_it(lock: FileLock) -> None:
    manager = ResourceManager(Resources(2.0))
    wide = Stuck("wide", 1, resource_manager=manager, job_resources=Resources(2.0), priority=5)
    small = Stuck("small", 1, resource_manager=manager, job_resources=Resources(1.0), priority=9)
    low = Stuck("low", 1, resource_manager=manager, job_resources=Resources(1.0))
    async with running(lock, small, wide, low) as pipeline:
        assert (await standing(pipeline, "quota", "wide", "j0")).lacking == "cpu"
        assert (await standing(pipeline, "quota", "low", "j0")).lacking == "a job of higher priority"


async def test_launches_that_are_waited_for_are_told(lock: FileLock) -> None:
    manager = ResourceManager(Resources(9.0, 0, 1))
    task = Stuck("only", 2, resource_manager=manager, job_resources=Resources(1.0), window=1000.0)
    async with running(lock, task) as pipeline:
        crowds = await crowds_of(pipeline, "only", quota=1, live=1)
    (waiting,) = (crowd.standing for crowd in crowds if crowd.standing.kind == "quota")
    assert (waiting.lacking, waiting.in_use, waiting.quota) == (
        "launches",
        "1 cpu, 0 mem, 1 launches",
        "9 cpu, 0 mem, 1 launches",
    )


async def test_jobs_behind_max_concurrent_and_those_that_can_never_start_are_told(lock: FileLock) -> None:
    narrow = Stuck("narrow", 5, max_concurrent=2)
    huge = Stuck("huge", 2, resource_manager=ResourceManager(Resources(1.0)), job_resources=Resources(16.0))
    async with running(lock, narrow, huge) as pipeline:
        crowds = await crowds_of(pipeline, "narrow", queued=3, live=2)
        queued = await standing(pipeline, "queued", "narrow", crowds[0].examples[0])
        assert queued.most == 2
        aside = await standing(pipeline, "set aside", "huge", "j1")
        assert "can never start" in str(aside.error)
        # One group, though each error names its own job.
        (grouped,) = await crowds_of(pipeline, "huge", **{"set aside": 2})
        assert grouped.examples == ("j0", "j1")
        assert "Job JOB of task huge" in str(grouped.standing.error)


async def test_jobs_that_wait_for_their_retry_are_grouped_by_cause(lock: FileLock) -> None:
    async def fails_by_kind(job: str) -> None:
        raise (KeyError if job < "j5" else ValueError)(job)

    task = Stuck("only", 10, func=fails_by_kind, retries=Retries(1, delay=1000))
    async with running(lock, task) as pipeline:
        crowds = await crowds_of(pipeline, "only", retry=10)
    assert {(crowd.standing.error, crowd.jobs, len(crowd.examples)) for crowd in crowds} == {
        ("KeyError: 'JOB'", 5, 3),
        ("ValueError: JOB", 5, 3),
    }


async def test_a_launch_that_failed_for_a_store_is_told_without_an_attempt(lock: FileLock) -> None:
    class Away(Stuck):
        @override
        async def run(self, job: str) -> Ended:
            raise StoreUnavailableError("The store is away.")

    async with running(lock, Away("only", 1)) as pipeline:
        found = await standing(pipeline, "retry", "only", "j0")
    assert (found.attempt, found.cause, found.error) == (None, "unavailable", "The store is away.")


async def test_a_job_that_is_nobodys_business_is_told_by_its_stores_alone(lock: FileLock) -> None:
    async with running(lock, Stuck("only", 1)) as pipeline:
        answer = await told(pipeline, lambda one: True, "only", "unheard-of")
        assert answer.standings == {"only": None}


async def test_only_the_user_may_ask_and_nothing_is_left(lock: FileLock) -> None:
    async with running(lock, Stuck("only", 1)) as pipeline:
        await standing(pipeline, "live", "only", "j0")
        desk = pipeline.desk
        assert desk is not None
        modes = await asyncio.to_thread(lambda: [path.stat().st_mode & 0o777 for path in (desk, desk.parent)])
        assert modes == [0o600, 0o700]
    assert await ask(desk) is None
    assert await asyncio.to_thread(os.listdir, desk.parent) == [lock.path.name]


async def test_a_socket_whose_controller_is_dead_is_replaced(lock: FileLock) -> None:
    desk = desk_beside(lock.path)

    def leave_behind() -> None:
        desk.parent.mkdir(parents=True, mode=0o700)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(desk))

    await asyncio.to_thread(leave_behind)
    assert await ask(desk) is None
    async with running(lock, Stuck("only", 1)) as pipeline:
        await standing(pipeline, "live", "only", "j0")


@pytest.mark.parametrize("reason", ["open to others", "a file in the way", "answers there"])
async def test_a_desk_that_cannot_be_opened_is_a_warning_and_the_run_goes_on(
    lock: FileLock, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = desk_beside(lock.path)

    def spoil() -> socket.socket | None:
        desk.parent.mkdir(parents=True, mode=0o700)
        if reason == "open to others":
            desk.parent.chmod(0o755)
        elif reason == "a file in the way":
            desk.write_text("mine")
        else:
            other = socket.socket(socket.AF_UNIX)
            other.bind(str(desk))
            other.listen()
            return other
        return None

    other = await asyncio.to_thread(spoil)
    task = Stuck("only", 1)
    task.go.set()
    try:
        with caplog.at_level(logging.WARNING):
            async with Pipeline([task], Session(), lock=lock) as pipeline:
                await pipeline.run()
    finally:
        if other is not None:
            other.close()
    assert task.begun == 1
    assert "cannot be asked about" in caplog.text
    if reason == "a file in the way":
        assert await asyncio.to_thread(desk.read_text) == "mine"


@pytest.mark.parametrize(
    "question",
    [b"\n", b"{}{}\n", b"[]\n", b'"why"\n', b'{"task": 3}\n', b'{"task": "unknown"}\n', b"x" * 10_000 + b"\n", b""],
    ids=lambda question: repr(question[:20]),
)
async def test_a_senseless_question_is_no_harm(lock: FileLock, question: bytes) -> None:
    async with running(lock, Stuck("only", 1)) as pipeline:
        await standing(pipeline, "live", "only", "j0")
        desk = pipeline.desk
        assert desk is not None
        reader, writer = await asyncio.open_unix_connection(str(desk))
        try:
            writer.write(question)
            writer.write_eof()
            reply = await reader.read()
        except ConnectionError:
            reply = b""
        finally:
            writer.close()
        assert not reply or "error" in json.loads(reply)
        await standing(pipeline, "live", "only", "j0")


async def test_more_askers_than_are_served_at_a_time_do_not_keep_others_out_for_ever(lock: FileLock) -> None:
    async with running(lock, Stuck("only", 1)) as pipeline:
        await standing(pipeline, "live", "only", "j0")
        assert pipeline.desk is not None
        silent = [await asyncio.open_unix_connection(str(pipeline.desk)) for _ in range(8)]
        for _, writer in silent:
            writer.close()
        await standing(pipeline, "live", "only", "j0")


async def test_a_path_that_is_too_long_for_a_socket_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("long" * 40)))
    async with running(FileLock(tmp_path / "script.py"), Stuck("only", 1)) as pipeline:
        await standing(pipeline, "live", "only", "j0")
