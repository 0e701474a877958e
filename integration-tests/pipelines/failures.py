"""A task whose function fails in the way that its job is named after, where ``SITE`` says: loop, threads or processes.

Each attempt appends a line to ``starts.log``, and publishes what one more task reads without being plugged in.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pydatatask
from typing_extensions import override

if TYPE_CHECKING:
    from pydatatask_core.task.record import Cause

TIMEOUT = 2.5
"""Seconds. A function that is to end before has to note its attempt first, and to publish."""


class HaltError(BaseException):
    """Is no Exception, as what ends a program or a test."""


class UnpicklableError(Exception):
    """Cannot leave the process that raised it."""

    @override
    def __reduce__(self) -> Any:
        raise TypeError("cannot be pickled")


class Broken(pydatatask.YamlMetadataFileRepository):
    """Takes no values."""

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        raise pydatatask.StoreUnavailableError("the disk is on fire")


broken = Broken("broken")


async def raises() -> None:
    raise ValueError("on purpose")


async def raises_after_the_first() -> None:
    """The first that begins does at once; the others wait for its record."""
    try:
        Path("first").touch(exist_ok=False)
    except FileExistsError:
        while not any(Path("fail_done").glob("[!.]*.yaml")):
            await asyncio.sleep(0.02)
    raise ValueError("on purpose")


async def exits() -> None:
    raise SystemExit(3)


async def halts() -> None:
    raise HaltError("no Exception")


async def interrupts() -> None:
    raise KeyboardInterrupt


async def is_cancelled() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(TIMEOUT / 3)


async def cancels_itself_at_last() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def child_exits() -> None:
    await asyncio.gather(asyncio.ensure_future(exits()))


async def overstays() -> None:
    await asyncio.sleep(3600)


async def blocks() -> None:
    time.sleep(TIMEOUT + 0.5)


async def returns_late() -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return


async def fails_late() -> None:
    try:
        await asyncio.sleep(3600)
    finally:
        raise ValueError("while it was stopped")


async def is_unpicklable() -> None:
    raise UnpicklableError(lambda: None)


async def is_undecodable() -> None:
    raise FileNotFoundError(os.fsdecode(b"no file \xff\x00"))


async def cannot_write() -> None:
    await broken.dump("any", {})


async def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def is_fine() -> None:
    pass


WAYS: dict[str, Callable[[], Awaitable[None]]] = {
    function.__name__: function
    for function in (
        raises,
        raises_after_the_first,
        exits,
        halts,
        interrupts,
        is_cancelled,
        cancels_itself,
        cancels_itself_at_last,
        child_exits,
        overstays,
        blocks,
        returns_late,
        fails_late,
        is_unpicklable,
        is_undecodable,
        cannot_write,
        is_killed,
        is_fine,
    )
}

made = pydatatask.YamlMetadataFileRepository("made")


async def fail(job: str, made: pydatatask.YamlMetadataFileRepository) -> None:
    log = os.open("starts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{job}\n".encode())
    os.close(log)
    await made.dump(job, {"by": os.getpid()})
    await WAYS[job.partition("-")[0]]()


async def nothing(job: str) -> None:
    pass


def start_worker() -> None:
    if os.environ.get("NO_WORKERS"):
        raise OSError("no room for workers")


def make() -> pydatatask.ExecutorTask | pydatatask.InProcessSyncTask:
    done = pydatatask.YamlMetadataFileRepository("fail_done")
    options: Any = {
        "func": fail,
        "timeout": TIMEOUT,
        "attempts": pydatatask.YamlMetadataFileRepository("attempts"),
        # A cause that is none is told when the retries are made.
        "retries": pydatatask.Retries(
            int(os.environ.get("RETRIES", "1")),
            delay=float(os.environ.get("DELAY", "0.01")),
            causes=cast("set[Cause]", {os.environ["CAUSES"]}),
        ),
        "failure_ok": bool(os.environ.get("FAILURE_OK")),
    }
    match os.environ["SITE"]:
        case "threads":
            return pydatatask.ExecutorTask("fail", ThreadPoolExecutor(8), done, **options)
        case "processes":
            return pydatatask.ExecutorTask("fail", ProcessPoolExecutor(2, initializer=start_worker), done, **options)
        case _:
            return pydatatask.InProcessSyncTask("fail", done, **options)


fails = make()
fails.link("source", pydatatask.YamlMetadataFileRepository("source"), is_input=True)
fails.link("made", made, is_output=True)

plugged = pydatatask.InProcessSyncTask("plugged", pydatatask.YamlMetadataFileRepository("plugged_done"), func=nothing)
plugged.plug(fails)

beside = pydatatask.InProcessSyncTask("beside", pydatatask.YamlMetadataFileRepository("beside_done"), func=nothing)
beside.link("made", made, is_input=True)

pipeline = pydatatask.Pipeline([fails, plugged, beside], pydatatask.Session())

if __name__ == "__main__":
    pydatatask.main(pipeline)
