"""What the controller that runs a pipeline says of its jobs, and what can be told of them where none runs."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from pydatatask_core.clock import now
from pydatatask_core.errors import ConfigurationError, TemplateError
from pydatatask_core.pipeline.desk import Told, ask
from pydatatask_core.pipeline.lock import Holder
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.pipeline.standing import Standing
from pydatatask_core.task.base import Task
from pydatatask_core.task.function import FunctionTask
from pydatatask_core.task.record import NextAttempt
from pydatatask_core.task.run import RunTask

from .exits import lines_of

__all__ = ["Asked", "ask_controller", "standing_by_stores"]


@frozen
class Asked:
    """What came of asking the controller."""

    holder: Holder | None = None
    """Who drives the pipeline, if somebody does."""
    told: Told | None = None
    """What it answered."""
    silence: str | None = None
    """Why it did not, though somebody drives the pipeline, or why that cannot be found out."""

    def data(self) -> dict[str, Any] | None:
        """Give it for a JSON document: None if no controller runs."""
        if self.holder is None and self.silence is None:
            return None
        holder = {} if self.holder is None else self.holder.data()
        return {**holder, "answers": self.told is not None, "silence": self.silence}


async def ask_controller(pipeline: Pipeline, task: str | None = None, job: str | None = None) -> Asked:
    """Ask about a task, or all of them, and about one job or the jobs as a whole. Whatever fails is said."""
    told: Told | None = None
    silence: str | None = None
    if pipeline.desk is not None:
        try:
            told = await ask(pipeline.desk, task, job)
        except (ValueError, TimeoutError) as error:
            silence = str(error)
    if told is not None:
        return Asked(told.holder, told)
    try:
        holder = None if pipeline.lock is None else await pipeline.lock.holder()
    except Exception as error:  # noqa: BLE001  # said, with the rest
        return Asked(silence=f"who drives the pipeline cannot be asked: {'; '.join(lines_of(error))}")
    if holder is None:
        return Asked(silence=silence)
    if holder.host != Holder.this_process().host:
        return Asked(holder, silence=f"ask on {holder.host}, where it runs")
    return Asked(holder, silence=silence or "it answers no questions")


async def standing_by_stores(task: Task, job: str) -> Standing | None:
    """Tell how a ready job stands, where no controller says it: what the stores and the quota as written know.

    :raises StoreUnavailableError: if the failed attempts cannot be read.
    """
    if not isinstance(task, RunTask):
        return None
    never = await _why_never(task, job)
    if never is not None:
        return Standing(kind="set aside", error=never)
    if not isinstance(task, FunctionTask) or task.attempts is None or not await task.attempts.contains(job):
        return None
    following = NextAttempt.after(await task.attempts.info(job))
    if following is None or following.due <= now():
        return None
    return Standing(
        kind="retry",
        attempt=following.failed,
        cause=following.cause,
        error=following.error,
        due=following.due.isoformat(timespec="milliseconds"),
    )


async def _why_never(task: RunTask, job: str) -> str | None:
    """Give why a job can never start for what it needs of the quota, if that is so."""
    manager = task.resource_manager
    if manager is None:
        return None
    try:
        cost = task.cost(job) or await task.ask_cost(job)
    except (ConfigurationError, TemplateError) as error:
        return str(error)
    if manager.can_never_fit(cost) is None:
        return None
    problem = f"it can never start: it needs {cost}, and the whole quota is {manager.quota}"
    return f"{problem}. Raise the quota, or lower the job's resources."
