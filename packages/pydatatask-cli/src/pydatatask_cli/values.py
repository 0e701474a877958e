"""One job's value, printed and stored: what ``cat`` and ``inject`` do."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from typing import Any

from pydatatask_core.errors import MalformedValueError, MissingJobError
from pydatatask_core.job import check_job
from pydatatask_core.repository.codec import JSON
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.repository.yaml import YAML
from pydatatask_core.streams import CHUNK

from . import output
from .errors import UsageError

__all__ = ["chunks_of", "load_value", "print_blob", "print_value", "store"]


async def load_value(repo: Repository, job: str) -> Any:
    """Give a job's data, or what else stands behind it where that is not bytes.

    :raises MissingJobError: if the job is not there.
    :raises MalformedValueError: if what is stored cannot be read.
    """
    if not await repo.contains(check_job(job)):
        raise MissingJobError(f"Job {job!r} is not in {repo!r}.")
    return await repo.info(job)


async def print_value(repo: Repository, job: str) -> None:
    """Print a job's value: bytes as they are, data as YAML. Fails as :func:`load_value` does."""
    if isinstance(repo, BlobRepository) and not isinstance(repo, MetadataRepository):
        await print_blob(repo, job)
        return
    output.raw(YAML.encode(_printable(await load_value(repo, job))))


async def print_blob(repo: BlobRepository, job: str) -> None:
    """Print a job's bytes as they are stored, a part at a time.

    :raises MissingJobError: if the job is not there.
    """
    async with await repo.open(job, "rb") as source:
        while data := await source.read(CHUNK):
            output.raw(data)


def _printable(value: Any) -> Any:
    """What YAML can say is left as it is; addresses and the like are shown as text."""
    from pydatatask_core.repository.value import plain

    try:
        return plain(value, "", "")
    except MalformedValueError:
        return str(value)


async def store(repo: Repository, job: str, source: AsyncIterator[bytes]) -> None:
    """Publish a job's value: bytes as they come, or data written as YAML or JSON.

    :raises MalformedValueError: if data is wanted and the bytes are none. Nothing was stored.
    :raises UsageError: if the repository stores neither.
    """
    check_job(job)
    if isinstance(repo, MetadataRepository):
        await repo.dump(job, _parse(b"".join([part async for part in source])))
    elif isinstance(repo, BlobRepository):
        async with await repo.open(job, "wb") as sink:
            async for part in source:
                await sink.write(part)
    else:
        raise UsageError(f"Nothing can be stored in {repo!r}: it holds neither bytes nor data.")


def _parse(raw: bytes) -> Any:
    # JSON first, since not every JSON text reads the same as YAML.
    try:
        return JSON.decode(raw)
    except MalformedValueError:
        try:
            return YAML.decode(raw)
        except MalformedValueError as error:
            raise UsageError(f"The input is {error}. Nothing was stored.") from error


async def chunks_of(descriptor: int) -> AsyncIterator[bytes]:
    """Give what a file descriptor has to read, a part at a time.

    Read in a daemon thread: a read from a terminal or a pipe cannot be cut short, and must not keep the command
    alive when it is interrupted.
    """
    loop = asyncio.get_running_loop()
    while True:
        part: asyncio.Future[bytes] = loop.create_future()
        threading.Thread(target=_read, args=(descriptor, loop, part), daemon=True).start()
        data = await part
        if not data:
            return
        yield data


def _read(descriptor: int, loop: asyncio.AbstractEventLoop, part: asyncio.Future[bytes]) -> None:
    try:
        data = os.read(descriptor, CHUNK)
    except OSError as error:
        _tell(loop, part.set_exception, part, error)
    else:
        _tell(loop, part.set_result, part, data)


def _tell(loop: asyncio.AbstractEventLoop, set_it: Any, part: asyncio.Future[bytes], value: object) -> None:
    def tell() -> None:
        if not part.done():
            set_it(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(tell)
