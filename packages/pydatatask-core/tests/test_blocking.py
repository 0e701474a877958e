"""Blocking the event loop fails a test, even if the error is swallowed; what may block may."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from blockbuster import BlockingError
from pydatatask_core.repository.memory import InProcessMetadataRepository
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.testing import blocking_forbidden
from typing_extensions import override


@pytest.fixture
def no_blocking() -> None:
    """Each test here forbids blocking by itself."""


class Calls(Repository):
    """A user's repository, listed through our code, that does something on the event loop."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        self.work()
        yield "job"

    @override
    async def info(self, job: str, /) -> None: ...

    @override
    async def delete(self, job: str, /) -> None: ...


async def use(work: Callable[[], object]) -> None:
    assert await Calls(work).contains("job")


def scan(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for _ in entries:
            pass


def flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def held_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=0.01)


@pytest.mark.parametrize(
    "work",
    [
        lambda path: time.sleep(0.001),
        lambda path: path.stat(),
        lambda path: path.read_bytes(),
        lambda path: path.write_bytes(b"x"),
        lambda path: path.read_text(),
        lambda path: path.rename(path.with_suffix(".new")),
        lambda path: scan(path.parent),
        lambda path: path.with_name("folder").mkdir(),
        lambda path: flush(path),
        lambda path: held_lock(),
    ],
    ids=["sleep", "stat", "read", "write", "read text", "rename", "scandir", "mkdir", "fsync", "lock"],
)
async def test_our_code_may_not_block_the_loop(work: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with pytest.raises(BlockingError), blocking_forbidden():
        await use(lambda: work(path))


async def test_an_error_that_was_swallowed_is_raised_in_the_end(tmp_path: Path) -> None:
    async def swallow() -> None:
        try:
            await use(tmp_path.stat)
        except Exception:
            return

    with pytest.raises(BlockingError, match=r"os\.stat.*caught by somebody"), blocking_forbidden():
        await swallow()


async def test_what_runs_in_a_thread_may_block(tmp_path: Path) -> None:
    with blocking_forbidden():
        await asyncio.to_thread(tmp_path.stat)
        await asyncio.to_thread(time.sleep, 0.001)


async def test_test_code_may_block(tmp_path: Path) -> None:
    with blocking_forbidden():
        (tmp_path / "file").write_bytes(b"content")
        assert (tmp_path / "file").read_bytes() == b"content"


def test_code_without_an_event_loop_may_block(tmp_path: Path) -> None:
    with blocking_forbidden():
        assert InProcessMetadataRepository().data == {}
        tmp_path.stat()


async def test_named_functions_are_borne(tmp_path: Path) -> None:
    with blocking_forbidden({"test_blocking.py": ["borne"]}):

        def borne() -> None:
            tmp_path.stat()

        await use(borne)


async def test_logging_may_write_where_the_user_wants(tmp_path: Path) -> None:
    logger = logging.getLogger("pydatatask.test")
    handler = logging.FileHandler(tmp_path / "log")
    logger.addHandler(handler)
    try:
        with blocking_forbidden():
            await use(lambda: logger.warning("a record"))
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "a record\n"


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    with blocking_forbidden():
        pass
    await use(tmp_path.stat)
