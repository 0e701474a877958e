"""Requests that are not left alone half-way: begun once, they are waited for though the caller be cancelled.

A request that was sent does its work whether somebody waits for the answer or not. Without the answer nobody knows
the name of the upload that was begun, or whether the value was published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

__all__ = ["GRACE", "to_the_end"]

GRACE = 10.0
"""Seconds that a cancelled caller still waits."""

T = TypeVar("T")


async def to_the_end(work: Coroutine[object, object, T]) -> T:
    """Do the work though the caller be cancelled meanwhile; the cancellation is raised afterwards.

    After a cancellation the work has :data:`GRACE` seconds left; a second one ends it at once.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait({task}, timeout=None if cancelled is None else GRACE)
        except asyncio.CancelledError as error:
            if cancelled is not None:
                task.cancel()
            cancelled = error
        else:
            if not done:
                task.cancel()
    if cancelled is not None:
        if not task.cancelled():
            # Looked at, so that asyncio does not report it as forgotten.
            task.exception()
        raise cancelled
    return task.result()
