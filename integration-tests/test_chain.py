"""Chains of tasks over several stores and executors, killed and started again; and none that waits for a poll."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask
import yaml
from bucket_server import BucketServer
from programs import DEADLINE, Ended, pipeline_file, run, started, wait_until
from pydatatask_core.pipeline.feed import Polling

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CHAIN = pipeline_file("chain")
NEVER = Polling(shortest=24 * 3600.0, longest=24 * 3600.0)
Stores = Sequence[pydatatask.MetadataRepository]
JOBS = tuple(f"text-{number}" for number in range(6))


def test_a_chain_over_s3_files_and_yaml_through_threads_and_processes(server: BucketServer, tmp_path: Path) -> None:
    fill(server)
    (tmp_path / "gate").touch()

    ended = run(CHAIN, "run", cwd=tmp_path, env=server.environment())

    assert ended.code == 0, ended.err
    found = reports(server)
    assert {job: found[job]["words"] for job in found} == {job: number + 2 for number, job in enumerate(JOBS)}
    workers, parents = ({report[name] for report in found.values()} for name in ("pid", "parent"))
    assert len(workers) <= 2
    assert len(parents) == 1
    assert not workers & parents
    assert server.keys("lake") >= {f"done/{job}.yaml" for job in JOBS}
    assert_nothing_left_to_do(tmp_path, server)


def test_pool_workers_die_with_a_controller_that_is_killed_and_the_next_one_finishes(
    server: BucketServer, tmp_path: Path
) -> None:
    fill(server)
    waiting = tmp_path / "waiting"
    waiting.mkdir()
    with started(CHAIN, "run", cwd=tmp_path, env=server.environment()) as controller:
        wait_until(lambda: len(list(waiting.iterdir())) == 2, "two workers began a job", controller)
        controller.send_signal(signal.SIGKILL)
        controller.wait(DEADLINE)
    workers = [int(file.name) for file in waiting.iterdir()]
    try:
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "the workers died with their controller")
    finally:
        for pid in filter(is_alive, workers):
            os.kill(pid, signal.SIGKILL)
    assert reports(server) == {}

    (tmp_path / "gate").touch()
    ended = run(CHAIN, "run", cwd=tmp_path, env=server.environment())

    assert ended.code == 0, ended.err
    assert set(reports(server)) == set(JOBS)
    assert_nothing_left_to_do(tmp_path, server)


async def test_three_tasks_over_memory_repositories_never_wait_for_a_poll() -> None:
    source = pydatatask.InProcessMetadataRepository(dict.fromkeys(JOBS, 1))
    stores = [source, *(pydatatask.InProcessMetadataRepository() for _ in range(3))]

    await run_chain(stores)

    assert stores[-1].data == dict.fromkeys(JOBS, 4)


async def test_what_comes_into_memory_while_the_chain_runs_for_ever_never_waits_for_a_poll() -> None:
    source = pydatatask.InProcessMetadataRepository()
    stores = [source, *(pydatatask.InProcessMetadataRepository() for _ in range(3))]
    pipeline, finished = chained(stores)

    async with pipeline, asyncio.timeout(DEADLINE):
        running = asyncio.ensure_future(pipeline.run(forever=True))
        for job in JOBS:
            await source.dump(job, 1)
            await finished.acquire()
        running.cancel()
        await asyncio.wait({running})

    assert stores[-1].data == dict.fromkeys(JOBS, 4)


async def test_three_tasks_over_files_never_wait_for_a_poll(tmp_path: Path) -> None:
    stores = [pydatatask.YamlMetadataFileRepository(tmp_path / name) for name in "abcd"]
    await stores[0].validate()
    for job in JOBS:
        await stores[0].dump(job, 1)

    await run_chain(stores)

    assert await stores[-1].info_all() == dict.fromkeys(JOBS, 4)


async def test_three_tasks_over_s3_never_wait_for_a_poll(server: BucketServer) -> None:
    server.put("lake", {f"a/{job}.yaml": b"1\n" for job in JOBS})
    session = pydatatask.Session()
    make_client = cast(
        "Callable[..., AbstractAsyncContextManager[S3Client]]", aiobotocore.session.get_session().create_client
    )
    owner = server.users["owner"]

    @session.resource
    async def bucket() -> AsyncGenerator[S3Client, None]:
        async with make_client(
            "s3", endpoint_url=server.url, aws_access_key_id=owner.key, aws_secret_access_key=owner.secret
        ) as client:
            yield client

    await run_chain([pydatatask.YamlMetadataS3Repository(bucket, f"lake/{name}/") for name in "abcd"], session)

    assert {yaml.safe_load(server.get("lake", f"d/{job}.yaml")) for job in JOBS} == {4}


async def run_chain(stores: Stores, session: pydatatask.Session | None = None) -> None:
    """Run a chain to its end where a poll would come long after the deadline."""
    pipeline, _ = chained(stores, session)
    async with pipeline, asyncio.timeout(DEADLINE):
        await pipeline.run()


def chained(stores: Stores, session: pydatatask.Session | None = None) -> tuple[pydatatask.Pipeline, asyncio.Semaphore]:
    """Give a chain in which each task adds one, and a semaphore released for each job at its end."""
    finished = asyncio.Semaphore(0)

    async def add_one(job: str, source: pydatatask.MetadataRepository, sink: pydatatask.MetadataRepository) -> None:
        await sink.dump(job, 1 + await source.info(job))
        if sink is stores[-1]:
            finished.release()

    tasks: list[pydatatask.Task] = []
    for number, (source, sink) in enumerate(itertools.pairwise(stores)):
        done = pydatatask.InProcessMetadataRepository()
        task = pydatatask.InProcessSyncTask(f"add-{number}", done, func=add_one)
        if tasks:
            task.plug(tasks[-1], output_links=())
        task.link("source", source, is_input=True)
        task.link("sink", sink, is_output=True)
        tasks.append(task)
    pipeline = pydatatask.Pipeline(tasks, session or pydatatask.Session())
    pipeline.polling = NEVER
    return pipeline, finished


def fill(server: BucketServer) -> None:
    server.put("lake", {f"texts/{job}.txt": b"word " * (number + 2) for number, job in enumerate(JOBS)})


def reports(server: BucketServer) -> dict[str, dict[str, int]]:
    """Give what the chain stored at its end, by job."""
    keys = [key for key in server.keys("lake") if key.startswith("reports/")]
    found = [yaml.safe_load(server.get("lake", key)) for key in keys]
    return {report.pop("job"): report for report in found}


def assert_nothing_left_to_do(folder: Path, server: BucketServer) -> None:
    before = reports(server)
    ended: Ended = run(CHAIN, "run", cwd=folder, env=server.environment())
    assert ended.code == 0, ended.err
    assert reports(server) == before


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and that nobody asked about does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
