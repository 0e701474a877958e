"""Done records, many at once, where one that cannot be read does not hide the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydatatask_core.errors import MalformedValueError, MissingJobError
from pydatatask_core.repository.protocols import MetadataRepository
from pydatatask_core.repository.together import together
from pydatatask_core.task.record import has_succeeded

__all__ = ["read_all", "read_some", "result_of"]

AT_ONCE = 16
"""Values that are read at the same time."""


async def read_all(repo: MetadataRepository) -> Mapping[str, Any]:
    """Give every value of a repository by job. Where one cannot be read, its error stands for it.

    :raises StoreUnavailableError: if the repository cannot be asked.
    """
    try:
        return await repo.info_all()
    except MalformedValueError:
        # One by one, to find out which.
        return await read_some(repo, [job async for job in repo])


async def read_some(repo: MetadataRepository, jobs: Iterable[str]) -> Mapping[str, Any]:
    """Give the values of some jobs, as :func:`read_all` does. A job that is not there is left out.

    :raises StoreUnavailableError: if the repository cannot be asked.
    """
    found: dict[str, Any] = {}

    async def read(job: str) -> None:
        try:
            found[job] = await repo.info(job)
        except MissingJobError:
            return
        except MalformedValueError as error:
            found[job] = error

    await together(read, list(jobs), AT_ONCE)
    return found


def result_of(data: object) -> str:
    """Say in a word or two how a run ended, by its record: ``success``, ``failure (exit)``, ``unreadable``."""
    if isinstance(data, MalformedValueError):
        return "unreadable"
    if has_succeeded(data):
        return "success"
    assert isinstance(data, Mapping)
    result = data.get("result")
    known = result if result in {"timeout", "cancelled", "lost"} else "failure"
    cause = data.get("cause")
    return f"{known} ({cause})" if isinstance(cause, str) and cause != known else str(known)
