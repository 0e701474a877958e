"""Wants the lock of a pipeline, again and again, and notes what it does with it.

``contender.py KIND TERM HOST``, in a folder that all contenders share. Who holds the lock stands in ``holder``, which
is created only if it is not there; each launch appends a line to ``launches.log``. Whoever still holds the lock after a
launch and finds somebody else in ``holder`` appends to ``wrong.log``, and so does whoever enters there while somebody
is in it who lives, if the kind of lock is one that nobody loses alive.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask
from pydatatask_core import CreatingRepository, LockHeldError
from pydatatask_core.pipeline import lease
from pydatatask_core.pipeline.lock import FileLock, PipelineLock

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

HOLDER = Path("holder")
ME = str(os.getpid())


def note(log: str, line: str) -> None:
    """Append a line in one write, which a kill cannot divide."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def state_of(pid: str) -> str:
    """Give a process's state as the kernel names it; Z for one that is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def enter(alone: bool) -> None:
    """Name this process as the holder; ``alone`` if nobody can have lost the lock who has not left."""
    while True:
        try:
            file = os.open(HOLDER, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            other = held_by()
            # One that was killed has left its name, and so has one that was late to see that its lease ran out.
            if alone and other is not None and state_of(other) != "Z":
                note("wrong.log", f"{ME} got the lock while {other} holds it")
            HOLDER.unlink(missing_ok=True)
        else:
            os.write(file, ME.encode())
            os.close(file)
            return


def held_by() -> str | None:
    try:
        return HOLDER.read_text()
    except FileNotFoundError:
        return None


def leave() -> None:
    if held_by() == ME:
        HOLDER.unlink(missing_ok=True)


async def contend(lock: PipelineLock) -> None:
    lost = asyncio.Event()
    try:
        await lock.acquire(lost.set)
    except LockHeldError:
        await asyncio.sleep(random.uniform(0, 0.3))
        return
    enter(alone=isinstance(lock, FileLock))
    for _ in range(random.choice([5, 20, 200])):
        if lost.is_set() or not lock.is_held():
            break
        note("launches.log", ME)
        # If it was paused between the two, it must know.
        if held_by() != ME and lock.is_held():
            note("wrong.log", f"{ME} launched while {held_by()} holds the lock")
        await asyncio.sleep(0.005)
    leave()
    await lock.release()


session = pydatatask.Session()


@session.resource
async def bucket() -> AsyncGenerator[S3Client, None]:
    async with aiobotocore.session.get_session().create_client(
        "s3",
        endpoint_url=os.environ["BUCKET_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["BUCKET_USERNAME"],
        aws_secret_access_key=os.environ["BUCKET_PASSWORD"],
    ) as client:
        yield client


@asynccontextmanager
async def locks(kind: str, term: float) -> AsyncIterator[PipelineLock]:
    repo: CreatingRepository
    match kind:
        case "lockfile":
            yield FileLock("main.py")
            return
        case "files":
            repo = pydatatask.YamlMetadataFileRepository("leases")
        case _:
            repo = pydatatask.YamlMetadataS3Repository(bucket, "leases/")
    async with session:
        yield lease.Lease(repo, term=term)


async def main(kind: str, term: str, host: str) -> None:
    if host != "here":
        # On another machine nobody sees whether this process lives.
        lease._boot = lambda: host
    async with locks(kind, float(term)) as lock:
        while True:
            await contend(lock)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
