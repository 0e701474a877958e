"""Watching costs one question per interval, however many runs there are, and tells what happens soon."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from pydatatask_core.runs.host import HostFile
from pydatatask_core.runs.shell import BECOME, RUN
from pydatatask_exec_ssh import SSHLinuxManager
from pydatatask_exec_ssh.conversation import Conversation
from ssh_server import SSHServer

SOON = 60.0
"""Seconds after which something that must be told is taken not to be."""


@pytest.fixture
def _listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All runs are listed at the beginning alone, so what is told later was told on its own."""
    monkeypatch.setattr("pydatatask_exec_ssh.watching.WHOLE", 3600.0)


def run_of(script: str) -> dict[str, HostFile | None]:
    return {
        "claim": HostFile(b"owner word\n"),
        "1": None,
        "1/limits": HostFile(b"- 1 /dev/null 0\n"),
        "1/run": HostFile(f"{RUN}\n{BECOME}".encode()),
        "1/script": HostFile(f"#!/bin/sh\n{script}\n".encode(), executable=True),
        "1/cwd": None,
    }


async def told(lines: AsyncIterator[str], wanted: Callable[[list[str]], bool]) -> list[str]:
    """Wait for a line about the run that is so, and give its words."""
    async with asyncio.timeout(SOON):
        async for line in lines:
            words = line.split()
            if words[0] == "task@job/1" and wanted(words):
                return words
    raise AssertionError


@pytest.mark.usefixtures("_listed_once")
async def test_beginning_and_end_are_told_soon(
    manager: SSHLinuxManager, twin: SSHLinuxManager, server: SSHServer
) -> None:
    async with manager.watch() as lines:
        while await anext(lines) != "end":
            pass
        await twin.claim("task@job", run_of("while [ ! -e ../../../go ]; do sleep 0.05; done"))
        assert (await told(lines, lambda words: words[4] == "-"))[5] == "-", "it did not begin yet"
        await twin.spawn("task@job/1")
        await told(lines, lambda words: words[4] == "yes" and words[12] == "-")
        await asyncio.to_thread(server.sh, f"touch {manager.basedir}/go")
        assert (await told(lines, lambda words: words[12] != "-"))[10] == "0"


async def test_a_supervisor_holds_nothing_of_the_connection(manager: SSHLinuxManager, server: SSHServer) -> None:
    async with manager.watch() as lines:
        await manager.claim("task@job", run_of("while [ ! -e ../../../go ]; do sleep 0.05; done"))
        await manager.spawn("task@job/1")
        pid = (await told(lines, lambda words: words[4] == "yes"))[5]
        held = await asyncio.to_thread(server.sh, f"for fd in /proc/{pid}/fd/*; do readlink $fd; done")
        await asyncio.to_thread(server.sh, f"touch {manager.basedir}/go")
    assert not [name for name in held.split() if name.startswith(("pipe:", "socket:"))], held


@pytest.mark.usefixtures("_listed_once")
async def test_a_supervisor_that_died_is_told_soon_though_its_run_is_no_news(
    manager: SSHLinuxManager, twin: SSHLinuxManager, server: SSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pydatatask_exec_ssh.watching.SPAN", 0.2)
    asked = counting(monkeypatch)

    async with manager.watch() as lines:
        await twin.claim("task@job", run_of("sleep 1000"))
        await twin.spawn("task@job/1")
        begun = await told(lines, lambda words: words[4] == "yes")
        asked.clear()
        # Whoever listens hears nothing before the supervisor dies, and that it is dead afterwards.
        heard = asyncio.ensure_future(told(lines, lambda words: words[4] == "no"))
        async with asyncio.timeout(SOON):
            while asked["mark"] < 4:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(server.sh, f"kill -KILL {begun[5]}")
        await heard


def counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the questions by verb."""
    asked: Counter[str] = Counter()
    ask = Conversation.ask

    async def counted(self: Conversation, verb: str, *words: str, more: tuple[str, ...] = ()) -> list[str]:
        asked[verb] += 1
        return await ask(self, verb, *words, more=more)

    monkeypatch.setattr(Conversation, "ask", counted)
    return asked


@pytest.mark.usefixtures("_listed_once")
async def test_watching_costs_one_question_per_interval(
    manager: SSHLinuxManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counting(monkeypatch)
    async with manager.watch() as lines:
        for number in range(40):
            await manager.claim(f"task@job{number}", run_of("sleep 1000"))
            await manager.spawn(f"task@job{number}/1")
        listening = asyncio.ensure_future(_exhaust(lines))
        asked.clear()
        began = time.monotonic()
        await asyncio.wait({listening}, timeout=4)
        async with asyncio.timeout(SOON):
            while not asked["changes"]:
                await asyncio.sleep(0.05)
        took, counts = time.monotonic() - began, Counter(asked)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert counts["changes"] <= took / 0.2
    assert counts["all"] == 1
    assert counts.keys() <= {"all", "changes", "mark"}


async def _exhaust(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


@pytest.fixture(autouse=True)
def _tidy(server: SSHServer) -> Iterator[None]:
    yield
    server.kill_all("sleep 1000 ")
