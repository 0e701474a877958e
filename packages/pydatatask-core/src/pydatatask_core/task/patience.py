"""What must be stored and cannot be yet: tried again until it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import StoreUnavailableError

__all__ = ["store", "store_later"]

_log = logging.getLogger("pydatatask.task")

LONGEST = 60.0
"""Seconds between two attempts, at most."""


async def store(operation: Callable[[], Awaitable[None]], what: str) -> None:
    """Do an operation on a store, again and again while the store is unavailable.

    A cancellation leaves it done or not.

    :param what: cannot be done yet, for people to read.
    """
    try:
        await operation()
    except StoreUnavailableError as error:
        await store_later(operation, what, error)


async def store_later(operation: Callable[[], Awaitable[None]], what: str, error: StoreUnavailableError) -> None:
    """Go on as :func:`store` does after a first attempt that failed with ``error``."""
    delay = 1.0
    while True:
        _log.warning("%s, and this is tried again in %.0f s: %s", what, delay, error)
        await asyncio.sleep(delay)
        delay = min(2 * delay, LONGEST)
        try:
            return await operation()
        except StoreUnavailableError as again:
            error = again
