"""What an engine's account of a container is taken to mean, also where the engine was killed and does not know."""

from __future__ import annotations

import asyncio
import tarfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from containers import BUSYBOX, App, engine_of
from pydatatask_core import InProcessMetadataRepository, Resources
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_exec_docker import ContainerTask, DockerManager
from pydatatask_exec_docker.accounts import Reader
from pydatatask_exec_docker.archive import mark_of
from pydatatask_exec_docker.engine import Inspected
from pydatatask_exec_docker.naming import LABELS, OWNER
from pydatatask_exec_docker.reading import ArchivedFile
from pydatatask_exec_docker.status import LOST, of_inspected

RUN = RunName("task", "one", 1)
ENTANGLED = {"Status": "created", "ExitCode": 128, "Error": "task 0123: already exists"}


def account(**state: Any) -> Inspected:
    """Give an engine's account of a container of the run."""
    return {
        "Id": "0123",
        "Name": f"/{dns_name('app', RUN)}",
        "Image": "sha256:4567",
        "Config": {"Image": "image:1", "Labels": {**LABELS.of("app", RUN), OWNER: "me"}},
        "State": {
            "StartedAt": "2026-01-01T00:00:02Z",
            "FinishedAt": "2026-01-01T00:00:05Z",
            "ExitCode": 0,
            "Error": "",
            **state,
        },
    }


def told(found: Inspected, mark: str | None = None, code: int | None = None) -> Sighting:
    seen = of_inspected(found, "app", "here", "image:1@digest", mark, None, code)
    assert seen is not None
    return seen


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ("created", Phase.CLAIMED),
        ("running", Phase.RUNNING),
        ("paused", Phase.RUNNING),
        ("removing", Phase.LEAVING),
        ("exited", Phase.ENDED),
        ("dead", Phase.ENDED),
    ],
)
def test_each_status_is_a_phase(status: str, phase: Phase) -> None:
    assert told(account(Status=status)).phase is phase


def test_a_container_that_has_not_begun_has_no_start_and_its_images_name() -> None:
    seen = told(account(Status="created", StartedAt="0001-01-01T00:00:00Z"))

    assert seen.start_time is None
    assert seen.image == "image:1"


def test_no_run_begins_after_its_end() -> None:
    seen = told(account(Status="exited", StartedAt="2026-01-01T00:00:06Z"))

    assert seen.start_time == seen.end_time == datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(("code", "result"), [(0, "success"), (3, "failure")])
def test_what_the_script_ended_with_counts_more_than_what_an_engine_makes_up(code: int, result: str) -> None:
    seen = told(account(Status="exited", ExitCode=255), code=code)

    assert (seen.result, seen.return_code) == (result, code)


@pytest.mark.parametrize("error", ["transport is closing: unavailable", 'connection error: desc = "transport: x"'])
def test_a_start_that_failed_with_the_engines_helper_is_tried_again(error: str) -> None:
    seen = told(account(Status="created", ExitCode=128, Error=error))

    assert seen.phase is Phase.CLAIMED
    assert seen.reason == error


def test_a_start_that_failed_for_good_has_failed_unless_the_run_was_to_end() -> None:
    found = account(Status="created", ExitCode=128, Error="no such user")

    assert (told(found).phase, told(found).result, told(found).cause) == (Phase.ENDED, "failure", "unschedulable")
    assert (told(found, "cancelled").result, told(found, "cancelled").cancellation) == ("cancelled", "cancelled")


async def test_what_an_engine_was_starting_when_it_was_killed_is_lost_unless_it_has_begun(
    app: App, manager: DockerManager
) -> None:
    session, engine = engine_of(manager)
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "true", done=InProcessMetadataRepository())
    reader = Reader(manager.engine, app.name)

    async def seen_with(state: dict[str, Any]) -> Sighting:
        found = await manager.engine.inspect(dns_name(app.name, RUN))
        assert found is not None
        seen = await reader.read({**found, "State": {**found["State"], **state}}, "here")
        assert seen is not None
        return seen

    async with session:
        claimed = await manager.claim(RUN, "me", await task.make(RUN))
        assert claimed is not None
        # It may begin in this moment.
        assert (await seen_with(ENTANGLED)).phase is Phase.CLAIMED
        await manager.engine.write(claimed.claim, mark_of(LOST))
        lost = await seen_with(ENTANGLED)
        assert (lost.phase, lost.result, lost.cause) == (Phase.ENDED, "lost", "lost")
        # It sees the mark when it comes.
        await manager.start(RUN)
        await manager.engine.wait(claimed.claim, 60)
        assert (await seen_with({})).result == "lost"
        # And if it has come before, it is awaited.
        assert (await seen_with(ENTANGLED)).phase is Phase.CLAIMED


def archived(data: bytes) -> ArchivedFile:
    """Give the reader of an answer that ends after some bytes."""
    content = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    content.feed_data(data)
    content.feed_eof()
    return ArchivedFile(cast(aiohttp.ClientResponse, SimpleNamespace(content=content)), AsyncExitStack(), "a file")


async def test_a_file_that_is_larger_than_its_entry_can_say_is_read_as_a_whole() -> None:
    info = tarfile.TarInfo("stdout")
    info.size = 9 * 2**30
    file = archived(info.tobuf(tarfile.PAX_FORMAT) + b"beginning")
    await file.begin(0)

    assert await file.read(100) == b"beginning"
    with pytest.raises(SiteUnavailableError):
        await file.read(100)


async def test_an_answer_that_ends_before_the_file_does_is_no_file() -> None:
    info = tarfile.TarInfo("stdout")
    info.size = 1000
    file = archived(info.tobuf(tarfile.USTAR_FORMAT) + b"x" * 500)
    await file.begin(100)

    with pytest.raises(SiteUnavailableError, match="ended the connection"):
        await file.read()
