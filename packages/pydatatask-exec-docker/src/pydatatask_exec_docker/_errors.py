"""The one door through which an engine's refusals and the client's failures come: each leaves it as one of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiodocker import DockerError
from pydatatask_core.errors import (
    ConfigurationError,
    ConflictError,
    MissingJobError,
    PydatataskError,
    SiteFullError,
    SiteUnavailableError,
)

__all__ = ["QUICK", "asking", "unreachable"]

QUICK = 60.0
"""Seconds that an answer may take that needs no work."""

LONG = 1000
"""Characters of an engine's words that are repeated."""

UNREACHABLE = 900
"""The status by which the SDK tells that there was no answer."""

_FULL = ("no space left on device", "disk quota exceeded")


@asynccontextmanager
async def asking(doing: str, at_most: float | None) -> AsyncIterator[None]:
    """Do something with an engine, within so many seconds.

    :raises MissingJobError: if the container or image does not exist.
    :raises ConflictError: if the name is taken, or the container is not in a state for it.
    :raises ConfigurationError: if the engine refuses it.
    :raises SiteFullError: if the engine's disk is full.
    :raises SiteUnavailableError: if there is no answer in time, or the engine fails.
    """
    try:
        async with asyncio.timeout(at_most):
            yield
    except DockerError as error:
        raise _refused(doing, error) from error
    except (aiohttp.ClientError, OSError) as error:
        raise unreachable(doing, error) from error


def _refused(doing: str, error: DockerError) -> PydatataskError:
    words = " ".join(str(error.message).split())
    said = words if len(words) <= LONG else f"{words[: LONG - 3]}..."
    if error.status == UNREACHABLE:
        return unreachable(doing, error)
    if any(sign in words.lower() for sign in _FULL):
        return SiteFullError(f"Cannot {doing}: the engine has no room. {said}")
    if error.status == 404:
        return MissingJobError(f"Cannot {doing}: {said}")
    if error.status == 409:
        return ConflictError(f"Cannot {doing}: {said}")
    if 400 <= error.status < 500:
        return ConfigurationError(f"Cannot {doing}: the engine refuses it. {said}")
    return SiteUnavailableError(f"Cannot {doing}: the engine answers {error.status}. {said}")


def unreachable(doing: str, error: Exception) -> SiteUnavailableError:
    """Give what a failure to get any answer means."""
    told = "no answer in time" if isinstance(error, TimeoutError) else str(error).strip() or type(error).__name__
    return SiteUnavailableError(
        f"Cannot {doing}: the Docker engine does not answer ({told}). Check that it runs and can be reached from here."
    )
