"""Logs that are longer than anybody wants to have in memory."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web
from attrs import define, field
from namespaces import DEADLINE
from pipelines import Bench
from pydatatask_core.runs.site import RunName
from pydatatask_core.streams import copy
from pydatatask_exec_kubernetes import PodManager
from scripted import pod, says, scripted

RUN = RunName("task", "job", 1)
MIB = 2**20
LONG = 300 * MIB
PIECE = bytes(range(256)) * (MIB // 256)

pytestmark = pytest.mark.slow


@define
class Log:
    """A server that sends a log as fast as it is taken."""

    sent: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while self.sent < LONG:
            await response.write(PIECE)
            self.sent += len(PIECE)
        return response

    async def stands_still(self) -> None:
        """Wait until nothing more is sent, because nobody takes it."""
        async with asyncio.timeout(DEADLINE):
            before = -1
            while before != self.sent:
                before = self.sent
                await asyncio.sleep(0.5)


@define
class SlowSink:
    """Stands still after the first bytes, and now and then."""

    log: Log
    taken: int = 0
    ahead: int = 0
    """Bytes that were sent, at most, and not taken yet when it stood still."""
    digest: hashlib._Hash = field(factory=hashlib.sha256)

    async def write(self, data: bytes, /) -> int:
        if self.taken // (100 * MIB) != (self.taken + len(data)) // (100 * MIB) or not self.taken:
            await self.log.stands_still()
            self.ahead = max(self.ahead, self.log.sent - self.taken)
        self.taken += len(data)
        self.digest.update(data)
        return len(data)

    async def close(self) -> None: ...


@contextmanager
def memory_is_bounded(by: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < by


@pytest.mark.parametrize("follow", [False, True], ids=["stored", "followed"])
async def test_a_long_log_is_copied_in_little_memory_however_slowly_it_is_taken(follow: bool) -> None:
    log = Log()
    async with scripted() as (script, manager):
        script.on("get", says(pod("job", 5)))
        script.on("log", log.answer)
        sink = SlowSink(log)
        with memory_is_bounded(8 * MIB):
            opening = manager.follow_output(RUN, "stdout") if follow else manager.open_output(RUN, "stdout")
            async with await opening as source:
                assert await copy(source, sink) == LONG

    expected = hashlib.sha256()
    for _ in range(LONG // len(PIECE)):
        expected.update(PIECE)
    assert sink.digest.digest() == expected.digest()
    # What the sockets of this machine hold is not ours.
    assert sink.ahead < 32 * MIB


async def test_a_log_of_several_mebibytes_is_stored_whole(manager: PodManager) -> None:
    """As much as nodes keep: they begin a new file after 10 MiB, and each line is 40 bytes longer there."""
    bench = Bench(manager)
    bench.shell("talkative", "line=$(head -c 1000 /dev/zero | tr '\\000' x); seq 1 6000 | sed \"s/$/ $line/\"")

    await bench.run()

    expected = "".join(f"{number} {1000 * 'x'}\n" for number in range(1, 6001)).encode()
    assert len(expected) > 5 * MIB
    assert hashlib.sha256(bench.logs["talkative"]["job"]).digest() == hashlib.sha256(expected).digest()
