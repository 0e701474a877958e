"""Programs in pods, over channels of each version that a server may speak."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSMsgType, web
from namespaces import DEADLINE
from pydatatask_core.errors import ConfigurationError, MissingJobError, PydatataskError, SiteUnavailableError
from pydatatask_core.runs.site import RunName
from scripted import Answer, pod, refuses, says, scripted

RUN = RunName("task", "job", 1)


def counts(protocol: str) -> Answer:
    """Speak one protocol: count the bytes of the input until it ends, and print their number."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=[protocol])
        await socket.prepare(request)
        size = 0
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            if message.data == b"\xff\x00":
                break
            assert message.data[0] == 0
            size += len(message.data) - 1
        await socket.send_bytes(b"\x01%d" % size)
        await socket.send_bytes(b"\x03" + json.dumps({"status": "Success"}).encode())
        await socket.close()
        return socket

    return answer


async def test_the_end_of_input_is_told_where_the_server_knows_how() -> None:
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", says(pod("job", 1)))
        script.on("exec", counts("v5.channel.k8s.io"))
        async with await manager.exec(RUN, ["wc", "-c"]) as execution:
            await execution.write(b"12345")
            assert await execution.end_input()
            assert [data async for _, data in execution.output()] == [b"5"]
        assert execution.exit_status == 0


async def test_an_older_server_is_told_nothing_that_it_would_take_for_input() -> None:
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", says(pod("job", 1)))
        script.on("exec", counts("v4.channel.k8s.io"))
        async with await manager.exec(RUN, ["wc", "-c"]) as execution:
            assert not await execution.end_input()


async def test_a_connection_that_ends_before_the_program_is_no_success() -> None:
    async def hangs_up(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        await socket.send_bytes(b"\x01half")
        await socket.close()
        return socket

    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", says(pod("job", 1)))
        script.on("exec", hangs_up)
        async with await manager.exec(RUN, ["true"]) as execution:
            with pytest.raises(SiteUnavailableError, match="did not say how the program ended"):
                assert [data async for _, data in execution.output()] == [b"half"]


def fails_with(message: str, output: bytes = b"") -> Answer:
    """Tell, over the channel, that the program could not be run."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
        await socket.prepare(request)
        if output:
            await socket.send_bytes(b"\x01" + output)
        await socket.send_bytes(b"\x03" + json.dumps({"status": "Failure", "message": message}).encode())
        await socket.close()
        return socket

    return answer


RUNS, OVER, GONE = says(pod("job", 1)), says(pod("job", 2, "Succeeded")), refuses(404, "pods not found")
NO_CONTAINER = fails_with("unable to upgrade connection: container not found")


@pytest.mark.parametrize("later", [[OVER], [GONE], [RUNS, OVER]], ids=["ended", "gone", "ended, as is told late"])
@pytest.mark.parametrize(
    "told", [refuses(500), refuses(404), refuses(400), NO_CONTAINER], ids=["500", "404", "400", "in the channel"]
)
async def test_a_program_that_is_begun_while_its_container_ends_does_not_run(
    told: Answer, later: list[Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pydatatask_exec_kubernetes.looking.LAG", 0.01)
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", RUNS, *later)
        script.on("exec", told)
        with pytest.raises(MissingJobError, match="does not run any more"):
            async with await manager.exec(RUN, ["true"]) as execution:
                await anext(execution.output())


async def test_a_program_that_a_live_container_does_not_run_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydatatask_exec_kubernetes.looking.LAG", 0.01)
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", RUNS)
        # A node that has just been restarted does not know its pods.
        script.on("exec", refuses(500), refuses(404), fails_with("no such program"), fails_with("lost", output=b"out"))
        for _ in range(2):
            with pytest.raises(SiteUnavailableError, match="get pods/exec"):
                await manager.exec(RUN, ["true"])
        async with await manager.exec(RUN, ["true"]) as execution:
            with pytest.raises(PydatataskError, match="no such program") as failure:
                await anext(execution.output())
            assert not isinstance(failure.value, MissingJobError)
        looks = len(script.of("get"))
        async with await manager.exec(RUN, ["true"]) as execution:
            with pytest.raises(PydatataskError, match="lost"):
                assert [data async for _, data in execution.output()] == [b"out"]
        assert len(script.of("get")) == looks + 1


async def test_what_is_forbidden_is_named_with_all_that_servers_ask_for() -> None:
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("get", RUNS)
        script.on("exec", refuses(403))
        with pytest.raises(ConfigurationError, match=r"verbs 'get' and 'create' on the resource 'pods/exec'"):
            await manager.exec(RUN, ["true"])
