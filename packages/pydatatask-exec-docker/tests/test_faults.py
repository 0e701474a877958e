"""Connections to the engine that break, and an engine that does not answer: runs go on, and are seen again."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import aiodocker
import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from engine_proxy import breaking_proxy
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, Pipeline, Resources
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.observation import observation_of
from pydatatask_core.testing.network import BreakingProxy
from pydatatask_exec_docker import ContainerTask, DockerManager, engine as engine_module


@pytest.fixture
async def proxy(app: App) -> AsyncIterator[BreakingProxy]:
    async with breaking_proxy() as found:
        yield found


@pytest.fixture
async def far(app: App, proxy: BreakingProxy) -> AsyncIterator[DockerManager]:
    """A manager whose engine is behind the proxy."""
    async with aiodocker.Docker(f"tcp://127.0.0.1:{proxy.port}") as client:
        yield DockerManager(app.name, client)


@contextmanager
def starts_of(app: App) -> Iterator[list[str]]:
    """Give the jobs whose containers begin, as the engine tells it."""
    starts: list[str] = []
    events = app.client.events(decode=True, filters={"label": f"pydatatask.app={app.name}", "event": "start"})

    def listen() -> None:
        starts.extend(event["Actor"]["Attributes"]["pydatatask.job"] for event in events)

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield starts
    finally:
        events.close()


def task_of(manager: DockerManager, script: str, jobs: int) -> tuple[Pipeline, ContainerTask, InProcessBlobRepository]:
    session, engine = engine_of(manager)
    out = InProcessBlobRepository()
    values = InProcessBlobRepository({f"job{number}": b"input %d\n" % number for number in range(jobs)})
    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, script, done=done, stdin=values, stdout=out)
    return Pipeline([task], session), task, out


async def test_connections_that_break_again_and_again_lose_nothing(
    app: App, far: DockerManager, proxy: BreakingProxy
) -> None:
    pipeline, task, out = task_of(far, "cat; sleep 1; echo end", 8)
    with starts_of(app) as starts:

        def has_progressed(number: int, _: object) -> bool:
            return len(starts) > number or running.done()

        async with pipeline:
            running = asyncio.ensure_future(pipeline.run(timeout=DEADLINE))
            for number in range(8):
                await app.until(partial(has_progressed, number), "a start")
                proxy.kill()
            proxy.down = True
            await asyncio.sleep(1.0)
            proxy.down = False
            await running
        await app.until(lambda _: len(starts) >= len(out.data), "what the engine tells of the last start")

    assert isinstance(task.done, InProcessMetadataRepository)
    assert {record["result"] for record in task.done.data.values()} == {"success"}
    assert out.data == {f"job{number}": b"input %d\nend\n" % number for number in range(8)}
    assert Counter(starts) == Counter(list(out.data))
    # The engine may be at a removal whose answer nobody heard.
    await app.until(lambda all_: not all_, "an end of what was left")


REQUESTS = {
    "events": b"GET /v1.41/events",
    "list": b"GET /v1.41/containers/json",
    "create": b"POST /v1.41/containers/create",
    "write": b"PUT /v1.41/containers/",
    "name": b"/rename?",
    "start": b"/start HTTP",
    "inspect": b"/json HTTP",
    "read": b"GET /v1.41/containers/%s/archive",
    "remove": b"DELETE /v1.41/containers/",
}


@pytest.mark.parametrize("mark", REQUESTS.values(), ids=list(REQUESTS))
async def test_an_answer_that_is_lost_loses_nothing(
    app: App, far: DockerManager, proxy: BreakingProxy, mark: bytes
) -> None:
    pipeline, task, out = task_of(far, "cat", 1)
    with starts_of(app) as starts:
        async with pipeline:
            proxy.lose_answer(*mark.split(b"%s"))
            await pipeline.run(timeout=DEADLINE)
        await app.until(lambda _: starts, "what the engine tells of the start")

    assert proxy.lost.is_set()
    assert isinstance(task.done, InProcessMetadataRepository)
    assert [(record["result"], record["attempt"]) for record in task.done.data.values()] == [("success", 1)]
    assert out.data == {"job0": b"input 0\n"}
    assert starts == ["job0"]
    # The engine may be at a removal whose answer was lost.
    await app.until(lambda all_: not all_, "an end of what was left")


async def test_a_container_that_could_be_neither_made_nor_removed_is_removed_later(
    app: App, far: DockerManager, proxy: BreakingProxy
) -> None:
    pipeline, _, out = task_of(far, "cat", 1)
    async with pipeline:
        proxy.lose_answer(REQUESTS["write"])
        running = asyncio.ensure_future(pipeline.run(timeout=DEADLINE))
        await proxy.lost.wait()
        proxy.down = True
        proxy.kill()
        await asyncio.sleep(0.5)
        proxy.down = False
        await running
        assert out.data == {"job0": b"input 0\n"}
        await app.until(lambda all_: not all_, "an end of what was left")


async def test_a_claim_that_stands_though_its_answer_is_lost_is_followed(
    app: App, far: DockerManager, proxy: BreakingProxy
) -> None:
    session, engine = engine_of(far)
    done = InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "true", done=done)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)
    async with Pipeline([task], session) as pipeline:
        # The container has its name from the beginning, since nothing is put into it.
        proxy.lose_answer(REQUESTS["create"])
        await pipeline.run(timeout=DEADLINE)

    assert proxy.lost.is_set()
    assert [(record["result"], record["attempt"]) for record in done.data.values()] == [("success", 1)]
    assert app.all() == []


async def test_a_run_that_ends_while_nobody_can_see_it_is_seen_afterwards(
    app: App, far: DockerManager, proxy: BreakingProxy
) -> None:
    pipeline, _, out = task_of(far, "while [ ! -e /go ]; do sleep 0.1; done; cat", 1)
    async with pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=DEADLINE))
        container = await app.until_running()
        proxy.down = True
        proxy.kill()
        await asyncio.to_thread(container.exec_run, ["touch", "/go"])
        await app.until(lambda all_: all_[0].status == "exited", "its end")
        proxy.down = False
        await running

    assert out.data == {"job0": b"input 0\n"}
    assert app.all() == []


async def test_an_engine_that_stops_answering_is_noticed(
    app: App, far: DockerManager, proxy: BreakingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "SILENCE", 0.3)
    observation = observation_of(far)
    await observation.open()
    try:
        proxy.silent = True
        async with asyncio.timeout(DEADLINE):
            while observation.obstacle is None:
                await asyncio.sleep(0.05)
        assert isinstance(observation.obstacle, SiteUnavailableError)
        proxy.silent = False
        proxy.kill()
        async with asyncio.timeout(DEADLINE):
            while observation.obstacle is not None:
                await asyncio.sleep(0.05)
    finally:
        await observation.close()


async def test_output_whose_reading_breaks_off_is_no_output(
    app: App, manager: DockerManager, far: DockerManager, proxy: BreakingProxy
) -> None:
    pipeline, *_ = task_of(manager, "head -c 20000000 /dev/zero", 1)
    async with pipeline:
        await pipeline.run(launch_once=True, leave=True, timeout=DEADLINE)
        await app.until(lambda all_: all_ and all_[0].status == "exited", "its end")
        (seen,) = await far.look("task", "job0")
        async with await far.open_output(seen.run, "stdout") as reader:
            assert len(await reader.read(1000)) == 1000
            proxy.kill()
            with pytest.raises(SiteUnavailableError):
                await reader.read()
        await far.release("task", "job0")
    assert app.all() == []
