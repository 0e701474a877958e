"""Function tasks in threads and in other processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from pydatatask_core import (
    ConfigurationError,
    ExecutorTask,
    InProcessMetadataRepository,
    InProcessSyncTask,
    Pipeline,
    Session,
)
from pydatatask_core.testing.blocking import Allowances
from typing_extensions import override


@pytest.fixture
def may_block() -> Allowances:
    """Blocking is what this function is for."""
    return {"test_executor.py": ("blocks",)}


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as executor:
        yield executor


def inputs(*jobs: str) -> InProcessMetadataRepository:
    return InProcessMetadataRepository({job: {} for job in jobs})


async def run(pipeline: Pipeline) -> None:
    async with asyncio.timeout(30), pipeline:
        await pipeline.run()


async def test_functions_run_in_threads_and_their_writes_are_announced(threads: ThreadPoolExecutor) -> None:
    done, made = InProcessMetadataRepository(), InProcessMetadataRepository()
    first = ExecutorTask("first", threads, done)
    names: set[str] = set()

    @first
    async def make(job: str, made: InProcessMetadataRepository) -> None:
        names.add(threading.current_thread().name)
        await made.dump(job, job)

    first.link("source", inputs("a", "b", "c"), is_input=True)
    first.link("made", made, is_output=True)
    after = InProcessMetadataRepository()
    second = InProcessSyncTask("second", after)

    @second
    async def nothing(job: str) -> None:
        pass

    second.plug(first)
    await run(Pipeline([first, second], Session()))
    assert sorted(after.data) == ["a", "b", "c"]
    assert threading.current_thread().name not in names
    assert not first.live.futures


async def test_resources_are_opened_once_per_thread_and_closed_with_the_pipeline(threads: ThreadPoolExecutor) -> None:
    session = Session()
    opened: list[int] = []
    closed: list[int] = []

    @session.resource
    async def client() -> AsyncGenerator[int, None]:
        opened.append(threading.get_ident())
        yield threading.get_ident()
        closed.append(threading.get_ident())

    class Store(InProcessMetadataRepository):
        @property
        @override
        def resources(self) -> frozenset[object]:
            return frozenset({client})

    store = Store()
    task = ExecutorTask("task", threads, InProcessMetadataRepository())

    @task
    async def use(job: str, store: Store) -> None:
        assert client() == threading.get_ident()

    task.link("source", inputs(*(f"j{i}" for i in range(20))), is_input=True)
    task.link("store", store, is_output=True)
    await run(Pipeline([task], session))
    assert task.done is not None
    records = await task.done.info_all()
    assert {record["result"] for record in records.values()} == {"success"}, records
    assert len(opened) == len(set(opened))
    assert len(closed) == len(opened)


async def test_synchronous_runs_happen_on_the_controllers_own_loop(threads: ThreadPoolExecutor) -> None:
    done = InProcessMetadataRepository()
    task = ExecutorTask("task", threads, done)
    where: list[int] = []

    @task
    async def work(job: str) -> None:
        where.append(threading.get_ident())

    task.link("source", inputs("a"), is_input=True)
    pipeline = Pipeline([task], Session())
    pipeline.settings(synchronous=True)
    await run(pipeline)
    assert where == [threading.get_ident()]
    assert done.data["a"]["result"] == "success"


async def test_a_blocking_function_that_takes_too_long_is_recorded_as_timeout(threads: ThreadPoolExecutor) -> None:
    done = InProcessMetadataRepository()
    task = ExecutorTask("task", threads, done, timeout=0.01)

    @task
    async def blocks(job: str) -> None:
        threading.Event().wait(0.05)

    task.link("source", inputs("a"), is_input=True)
    await run(Pipeline([task], Session()))
    assert (done.data["a"]["result"], done.data["a"]["cause"]) == ("timeout", "timeout")


async def test_a_job_taken_back_before_it_began_leaves_no_record() -> None:
    done = InProcessMetadataRepository()
    release = threading.Event()
    with ThreadPoolExecutor(1) as one:
        task = ExecutorTask("task", one, done)
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        @task
        async def waits(job: str) -> None:
            loop.call_soon_threadsafe(begun.set)
            await asyncio.to_thread(release.wait)

        task.link("source", inputs("a", "b"), is_input=True)
        pipeline = Pipeline([task], Session())
        async with asyncio.timeout(30), pipeline:
            running = asyncio.ensure_future(pipeline.run())
            await begun.wait()
            assert pipeline.controller is not None
            pipeline.controller.stop()
            release.set()
            await running
    assert len(done.data) == 1


class Broken(Executor):
    """Takes no jobs."""

    @override
    def submit(self, fn: object, /, *args: object, **kwargs: object) -> Future[object]:  # type: ignore[override]  # narrower than the generic one
        raise RuntimeError("cannot schedule new futures after shutdown")


async def test_an_executor_that_takes_no_jobs_is_told_and_nothing_is_recorded() -> None:
    done = InProcessMetadataRepository()
    task = ExecutorTask("task", Broken(), done, in_process=True)

    @task
    async def nothing(job: str) -> None:
        pass

    task.link("source", inputs("a"), is_input=True)
    pipeline = Pipeline([task], Session())
    async with pipeline:
        controller = await pipeline.run()
    assert done.data == {}
    assert [type(problem) for problem in controller.problems()] == [ConfigurationError]


async def test_memory_repositories_are_refused_where_other_processes_would_need_them() -> None:
    with ProcessPoolExecutor(1) as pool:
        task = globals()["refused"] = ExecutorTask("refused", pool, InProcessMetadataRepository(), func=wants_source)
        task.link("source", inputs("a"), is_input=True)
        with pytest.raises(ConfigurationError, match="lives in the memory of this one"):
            await run(Pipeline([task], Session()))


async def wants_source(job: str, source: InProcessMetadataRepository) -> None:
    pass


async def test_a_task_that_workers_could_not_find_is_refused() -> None:
    with ProcessPoolExecutor(1) as pool:
        task = ExecutorTask("hidden", pool, InProcessMetadataRepository(), func=wants_source)
        task.link("source", inputs("a"), is_input=True)
        with pytest.raises(ConfigurationError, match="a global of the module"):
            await run(Pipeline([task], Session()))


SCRIPT = """
import asyncio, multiprocessing, os, sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from pydatatask_core import *

class Folder(MetadataRepository):
    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
    async def unfiltered_iter(self):
        for path in self.folder.iterdir():
            yield path.name
    async def info(self, job, /):
        return (self.folder / job).read_text()
    async def dump(self, job, data, /):
        (self.folder / job).write_text(str(data))
    async def delete(self, job, /):
        (self.folder / job).unlink(missing_ok=True)

session = Session()

@session.resource
async def greeting():
    Path("opened").open("a").write(f"{os.getpid()}\\n")
    yield "hello"
    Path("closed").open("a").write(f"{os.getpid()}\\n")

class Greeted(Folder):
    resources = frozenset({greeting})

out = Greeted("out")
task = ExecutorTask("task", None, InProcessMetadataRepository())

@task
async def work(job, out):
    if job == "dies":
        os._exit(3)
    if job == "fails":
        raise ValueError("on purpose")
    if job == "hangs":
        Path("hanging").write_text(str(os.getpid()))
        multiprocessing.Event().wait()
    await out.dump(job, f"{greeting()} from {os.getpid()}")

task.link("source", InProcessMetadataRepository(dict.fromkeys(sys.argv[2:])), is_input=True)
task.link("out", out, is_output=True)
after = InProcessSyncTask("after", InProcessMetadataRepository())

@after
async def nothing(job):
    pass

after.plug(task)

async def main():
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(2, mp_context=context) as task.executor:
        async with Pipeline([task, after], session) as pipeline:
            await pipeline.run()
    for job, record in sorted(task.done.data.items()):
        print(job, record["result"], record.get("exception"), job in after.done.data)

if __name__ == "__main__":
    asyncio.run(main())
"""


def script(folder: Path, method: str, *jobs: str) -> subprocess.Popen[str]:
    (folder / "main.py").write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, "main.py", method, *jobs],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_find_the_task_and_open_their_own_resources(tmp_path: Path, method: str) -> None:
    process = script(tmp_path, method, "a", "b", "fails")
    out, err = process.communicate(timeout=60)
    assert out.splitlines() == [
        "a success None True",
        "b success None True",
        "fails failure ValueError: on purpose False",
    ], err
    workers = {(tmp_path / "out" / job).read_text().split()[-1] for job in "ab"}
    opened = (tmp_path / "opened").read_text().split()
    assert workers <= set(opened)
    assert sorted(opened) == sorted((tmp_path / "closed").read_text().split())


@pytest.mark.slow
def test_a_worker_process_that_dies_loses_the_run_with_that_cause(tmp_path: Path) -> None:
    process = script(tmp_path, "fork", "dies")
    out, err = process.communicate(timeout=60)
    assert out.split()[:2] == ["dies", "lost"], err


@pytest.mark.slow
def test_worker_processes_die_with_the_controller(tmp_path: Path) -> None:
    process = script(tmp_path, "fork", "hangs")
    hanging = tmp_path / "hanging"
    try:
        wait_for(lambda: hanging.exists() and hanging.read_text() != "")
        worker = int(hanging.read_text())
        assert alive(worker)
    finally:
        process.kill()
    wait_for(lambda: not alive(worker))
    process.communicate(timeout=60)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition: object) -> None:
    assert callable(condition)
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{condition} did not come true; processes: {os.listdir('/proc')[:5]}")
