"""Keeps what people are told of live runs in step with what is live: a record that disappears is written again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import StoreUnavailableError
from ..repository.changes import ChangeSource, Removed, Resync
from ..repository.protocols import MetadataRepository

__all__ = ["restore"]

_log = logging.getLogger("pydatatask.task")

ROUND = 30.0
"""Seconds between two looks at a repository that tells of nothing, or did not answer."""


async def restore(
    pids: MetadataRepository, live: Callable[[], list[str]], again: Callable[[str], Awaitable[None]]
) -> None:
    """Write missing records of live runs again, until cancelled.

    :param live: gives the jobs that are live now.
    :param again: writes the record of a job, if it is live and has none.
    """
    while True:
        try:
            if pids.change_source is ChangeSource.POLLED:
                await _all(live, again)
            else:
                await _watch(pids, live, again)
        except StoreUnavailableError as error:
            _log.warning("Whether records of live runs are missing cannot be seen now: %s", error)
        await asyncio.sleep(ROUND)


async def _watch(
    pids: MetadataRepository, live: Callable[[], list[str]], again: Callable[[str], Awaitable[None]]
) -> None:
    async with pids.watch() as events:
        await _all(live, again)
        async for event in events:
            if isinstance(event, Removed):
                await again(event.job)
            elif isinstance(event, Resync):
                await _all(live, again)


async def _all(live: Callable[[], list[str]], again: Callable[[str], Awaitable[None]]) -> None:
    for job in live():
        await again(job)
