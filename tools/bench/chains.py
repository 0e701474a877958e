"""Pipelines of tasks that do nothing, over memory repositories."""

from __future__ import annotations

from datetime import UTC, datetime

from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session

__all__ = ["bare_run", "chain", "nothing"]


async def nothing(job: str) -> None:
    """Do what every task of these pipelines does."""


def chain(
    length: int, source: InProcessMetadataRepository, timeout: float | None = None
) -> tuple[Pipeline, list[InProcessMetadataRepository]]:
    """Make a chain of tasks, each plugged into the one before; gives the done repositories too."""
    tasks: list[InProcessSyncTask] = []
    dones = [InProcessMetadataRepository() for _ in range(length)]
    for number, done in enumerate(dones):
        task = InProcessSyncTask(f"t{number}", done, func=nothing, timeout=timeout)
        if tasks:
            task.plug(tasks[-1])
        else:
            task.link("source", source, is_input=True)
        tasks.append(task)
    return Pipeline(tasks, Session()), dones


async def bare_run(job: str, done: dict[str, object]) -> None:
    """Do by hand what one run of such a task comes to: the call, two looks at the clock, the record."""
    start = datetime.now(UTC)
    await nothing(job)
    end = datetime.now(UTC)
    done[job] = {"result": "success", "attempt": 1, "start_time": start, "end_time": end, "host": "localhost"}
