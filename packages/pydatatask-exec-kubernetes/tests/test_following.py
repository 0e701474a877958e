"""Logs that are cut, refused or not there yet: what the server says is not taken for the end of what was written."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from namespaces import DEADLINE
from pydatatask_core.errors import MissingJobError, SiteUnavailableError
from pydatatask_core.runs.site import RunName
from pydatatask_exec_kubernetes import PodManager, container_log
from pydatatask_exec_kubernetes.logs import LogReader
from scripted import Answer, Script, pod, refuses, says, scripted, streams

RUN = RunName("task", "job", 1)
WAITING = refuses(400, 'container "main" in pod "x" is waiting to start: PodInitializing')
LOST = b"unable to retrieve container logs for containerd://1234"


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a thirtieth."""
    for name in ("BEGINNING", "PAUSE", "AT_ONCE"):
        monkeypatch.setattr(container_log, name, getattr(container_log, name) / 30)


def standing(phase: str = "Running", **states: dict[str, Any]) -> dict[str, Any]:
    """Give a pod with containers and how each of them is."""
    made = pod("job", 5, phase)
    made["spec"]["containers"] = [{"name": name, "image": "image"} for name in states]
    made["status"]["containerStatuses"] = [
        {"name": name, "state": state, "containerID": "containerd://1234"} for name, state in states.items()
    ]
    return made


WAITS = {"waiting": {"reason": "PodInitializing"}}
RUNS = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
ENDED = {"terminated": {"exitCode": 0, "containerID": "containerd://1234"}}
LIVE, OVER = says(standing(main=RUNS)), says(standing("Succeeded", main=ENDED))


@asynccontextmanager
async def following(script: Script, manager: PodManager, *answers: Answer) -> AsyncIterator[LogReader]:
    script.on("list", says({"items": [], "metadata": {"resourceVersion": "5"}}))
    script.on("log", *answers)
    async with asyncio.timeout(DEADLINE), await manager.follow_output(RUN, "stdout") as log:
        assert isinstance(log, LogReader)
        yield log


@pytest.mark.usefixtures("quickly")
async def test_a_log_that_is_cut_while_its_container_runs_goes_on_where_it_was() -> None:
    async with scripted() as (script, manager):
        script.on("get", LIVE, LIVE, LIVE, OVER)
        pieces = streams(b"one\n"), streams(b"one\n", b"two\n"), streams(b"one\ntwo\n", b"three\n")
        async with following(script, manager, *pieces) as log:
            assert await log.read() == b"one\ntwo\nthree\n"

    assert script.of("log") == 3 * [{"container": "main", "follow": "true"}]


@pytest.mark.usefixtures("quickly")
async def test_a_log_that_was_cut_before_anything_came_goes_on() -> None:
    async with scripted() as (script, manager):
        script.on("get", LIVE, LIVE, OVER)
        async with following(script, manager, streams(), streams(b"one\n")) as log:
            assert await log.read() == b"one\n"


async def test_a_log_that_ends_is_whole_when_its_container_has_ended() -> None:
    async with scripted() as (script, manager):
        script.on("get", LIVE, OVER)
        async with following(script, manager, streams(b"one\n")) as log:
            assert await log.read() == b"one\n"

    assert len(script.of("log")) == 1


async def test_a_log_that_ends_again_and_again_is_whole_whatever_a_node_tells_of_its_container() -> None:
    begun = asyncio.get_running_loop().time()
    async with scripted() as (script, manager):
        script.on("get", LIVE)
        async with following(script, manager, streams(b"one\n")) as log:
            assert await log.read() == b"one\n"

    assert len(script.of("log")) == 3
    assert asyncio.get_running_loop().time() - begun > 3


@pytest.mark.usefixtures("quickly")
async def test_a_log_that_cannot_go_on_exactly_where_it_was_is_no_end() -> None:
    """Its node has begun a new file meanwhile."""
    async with scripted() as (script, manager):
        script.on("get", LIVE)
        async with following(script, manager, streams(b"one\n"), streams(b"two\n", b"three\n", stays=True)) as log:
            assert await log.read(100) == b"one\n"
            with pytest.raises(SiteUnavailableError, match=r"interrupted while the run goes on.*Follow it anew"):
                await log.read()


@pytest.mark.usefixtures("quickly")
async def test_a_read_that_is_cancelled_while_a_log_is_opened_anew_repeats_nothing() -> None:
    async with scripted() as (script, manager):
        script.on("get", LIVE, LIVE, OVER)
        pieces = streams(b"one\ntwo\n"), streams(b"one\n", stays=True), streams(b"one\ntwo\n", b"three\n")
        async with following(script, manager, *pieces) as log:
            assert await log.read(100) == b"one\ntwo\n"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(log.read(), 1)
            assert await log.read() == b"three\n"


@pytest.mark.usefixtures("quickly")
async def test_a_log_of_which_its_node_has_only_the_newest_file_has_an_end() -> None:
    async with scripted() as (script, manager):
        script.on("get", LIVE)
        async with following(script, manager, streams(b"one\n"), streams(b"two\n")) as log:
            assert await log.read() == b"one\n"


@pytest.mark.usefixtures("quickly")
async def test_a_container_that_has_not_begun_is_waited_for_when_the_one_before_has_ended() -> None:
    first, second = says(standing(a=ENDED, b=WAITS)), says(standing("Succeeded", a=ENDED, b=ENDED))
    async with scripted() as (script, manager):
        script.on("get", first, first, first, first, second)
        async with following(script, manager, streams(b"a\n"), WAITING, WAITING, streams(b"b\n")) as log:
            assert await log.read() == b"==> a <==\na\n==> b <==\nb\n"


@pytest.mark.usefixtures("quickly")
async def test_a_container_that_never_begins_is_not_waited_for() -> None:
    leaving = standing(a=ENDED, b=WAITS)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    for never in (standing("Failed", a=ENDED, b=WAITS), leaving):
        async with scripted() as (script, manager):
            script.on("get", says(never))
            async with following(script, manager, streams(b"a\n"), WAITING) as log:
                assert await log.read() == b"==> a <==\na\n"


@pytest.mark.usefixtures("quickly")
async def test_a_log_that_a_node_does_not_know_of_a_container_that_has_begun_is_not_missing() -> None:
    """A kubelet that was restarted knows no pod for a moment. What is taken for missing is stored as empty."""
    async with scripted() as (script, manager):
        script.on("get", OVER)
        script.on("log", *5 * [refuses(404, "pod does not exist")], streams(b"one\n"))
        with pytest.raises(SiteUnavailableError, match=r"does not give the log of container main.*pod does not exist"):
            await manager.open_output(RUN, "stdout")
        async with await manager.open_output(RUN, "stdout") as log:
            assert await log.read() == b"one\n"


async def test_a_log_is_missing_when_its_pod_is() -> None:
    other = standing(main=RUNS)
    other["metadata"]["uid"] = "another"
    for later in (refuses(404, "pods not found"), says(other)):
        async with scripted() as (script, manager):
            script.on("get", LIVE, later)
            script.on("log", refuses(404, "not found"))
            with pytest.raises(MissingJobError, match="not found"):
                await manager.open_output(RUN, "stdout")


@pytest.mark.usefixtures("quickly")
async def test_what_a_kubelet_says_of_a_log_is_not_taken_for_it() -> None:
    async with scripted() as (script, manager):
        script.on("get", OVER)
        script.on("log", streams(LOST), streams(LOST), streams(b"one\n"))
        async with await manager.open_output(RUN, "stdout") as log:
            assert await log.read() == b"one\n"


@pytest.mark.usefixtures("quickly")
async def test_a_log_that_a_kubelet_cannot_read_for_long_is_missing_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted() as (script, manager):
        script.on("get", OVER)
        script.on("log", streams(LOST))
        with caplog.at_level(logging.WARNING), pytest.raises(MissingJobError, match="is lost"):
            await manager.open_output(RUN, "stdout")

    assert len(script.of("log")) == 4
    assert "containerd://1234" in caplog.text


async def test_a_container_may_write_what_a_kubelet_says_of_others() -> None:
    line = LOST[:-1] + b"5\n"
    async with scripted() as (script, manager):
        script.on("get", OVER)
        script.on("log", streams(line))
        async with await manager.open_output(RUN, "stdout") as log:
            assert await log.read() == line


async def test_a_connection_that_is_dead_and_silent_is_found_out() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        return await streams(stays=True)(request)

    async with scripted() as (script, manager):
        script.on("get", LIVE)
        async with following(script, manager, silent) as log:
            assert log._log is not None
            response = log._log._response
            assert response is not None
            assert response.connection is not None
            assert response.connection.transport is not None
            raw = response.connection.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
