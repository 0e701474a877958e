"""Failed jobs, picked by how they failed, whose records are cleared so that they start again: what ``retry`` does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from attrs import frozen
from pydatatask_core.repository.protocols import MetadataRepository
from pydatatask_core.task.base import Task
from pydatatask_core.task.record import has_succeeded
from pydatatask_core.task.run import RunTask

from .deleting import is_glob
from .errors import UsageError
from .expression import matcher
from .records import read_all, read_some, result_of

__all__ = ["Failure", "clear", "failures"]


@frozen
class Failure:
    """A job that ended without success."""

    task: str
    job: str
    how: str


def _done(task: Task) -> MetadataRepository:
    if not isinstance(task, RunTask) or task.done is None:
        raise UsageError(f"Task {task.name} keeps no done records, so nothing is known of failures.")
    return task.done


async def failures(task: Task, jobs: Sequence[str], results: Collection[str], causes: Collection[str]) -> list[Failure]:
    """Find the failed jobs of a task.

    :param jobs: ids and patterns; all jobs if there are none.
    :param results: of these results only, if there are any.
    :param causes: of these causes only, if there are any.
    :raises UsageError: if the task keeps no records.
    :raises StoreUnavailableError: if they cannot be read.
    """
    done = _done(task)
    patterns = [matcher(job) for job in jobs if is_glob(job)]
    ids = [job for job in jobs if not is_glob(job)]
    records: Mapping[str, Any] = await (read_all(done) if patterns or not jobs else read_some(done, ids))
    wanted = {job for job in records if not jobs or job in ids or any(fits(job) for fits in patterns)}
    return [
        Failure(task.name, job, result_of(records[job]))
        for job in sorted(wanted)
        if _failed(records[job], results, causes)
    ]


def _failed(record: Any, results: Collection[str], causes: Collection[str]) -> bool:
    if isinstance(record, Exception):
        return not results and not causes
    if has_succeeded(record):
        return False
    return (not results or record.get("result") in results) and (not causes or record.get("cause") in causes)


async def clear(task: Task, failed: Sequence[Failure]) -> None:
    """Forget how jobs ended, and their attempts, so that they start again. Their outputs are replaced when they do."""
    done = _done(task)
    attempts = task.links.get("attempts")
    for failure in failed:
        # The record last: it is what keeps the job from starting.
        if attempts is not None:
            await attempts.repo.delete(failure.job)
        await done.delete(failure.job)
