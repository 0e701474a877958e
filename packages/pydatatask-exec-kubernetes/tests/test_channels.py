"""Programs in pods, over channels of each version that a server may speak."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import WSMsgType, web
from namespaces import DEADLINE
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.site import RunName
from scripted import Answer, pod, says, scripted

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
