"""Tasks that are Python functions: what a function is given, and how one call becomes a record."""

from __future__ import annotations

import asyncio
import inspect
import platform
import traceback
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self, get_type_hints

from typing_extensions import Unpack, override

from ..clock import now
from ..errors import ConfigurationError
from ..repository.protocols import MetadataRepository, Repository
from .deadlines import Limit
from .patience import store
from .record import DUE, NextAttempt, RunRecord
from .run import Again, Dropped, Ended, RunOptions, RunTask, cancelled_from_outside

__all__ = ["HOST", "FunctionTask", "InProcessSyncTask", "TaskFunction", "call", "is_being_cancelled"]

TaskFunction = Callable[..., Awaitable[None]]
"""An ``async def`` that takes ``job`` and linked repositories by the names of their links."""

HOST = platform.node()
"""This machine, as records name it."""


def comes_from_outside(error: BaseException) -> bool:
    """Tell whether an exception stops the asyncio task or the program that calls a function, and is not its failure."""
    if isinstance(error, asyncio.CancelledError):
        return is_being_cancelled()
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


async def call(
    function: Callable[[str], Awaitable[None]],
    job: str,
    allowed: float | None,
    from_outside: Callable[[BaseException], bool] = comes_from_outside,
) -> RunRecord:
    """Call a function with a job and tell how it ended, as a first attempt.

    A cancellation of the caller cancels the function and goes on; a function that cancels itself has failed.

    :param allowed: the longest time it may take, in seconds.
    """
    caller = asyncio.current_task()
    assert caller is not None
    start = now()
    limit: Limit | None = None
    try:
        if allowed is None:
            await function(job)
        else:
            with Limit(allowed, caller) as limit:
                await function(job)
        if limit is None or not limit.is_over:
            record = RunRecord(result="success", start_time=start, end_time=now(), host=HOST)
        else:
            # It may never have come back to the event loop to be told.
            record = _timeout(start)
    except BaseException as error:  # it becomes the record
        if from_outside(error):
            raise
        record = _timeout(start) if limit is not None and limit.expired else _failure(error, start)
    if caller.cancelling() and not is_being_cancelled():
        await _take_back_cancellation(caller)
    return record


async def _take_back_cancellation(caller: asyncio.Task[Any]) -> None:
    """Undo that a function cancelled the asyncio task it was called in, so that nothing else is struck by it."""
    while caller.uncancel():
        pass
    try:
        # It may still be on its way.
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise


def is_being_cancelled() -> bool:
    """Tell whether the current run is being cancelled from outside."""
    return cancelled_from_outside.get()()


def _timeout(start: datetime) -> RunRecord:
    return RunRecord(result="timeout", cause="timeout", start_time=start, end_time=now(), host=HOST)


def _failure(error: BaseException, start: datetime) -> RunRecord:
    return RunRecord(
        result="failure",
        cause="exception",
        exception=_text(traceback.format_exception_only(error)).strip(),
        # The first frame is this module's own call.
        traceback=_text(traceback.format_exception(type(error), error, _beyond_this_module(error))),
        start_time=start,
        end_time=now(),
        host=HOST,
    )


def _text(lines: list[str]) -> str:
    # The name of a file that is no UTF-8 has characters that no store takes.
    return "".join(lines).encode(errors="backslashreplace").decode()


def _beyond_this_module(error: BaseException) -> Any:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return frames


class FunctionTask(RunTask):
    """A task that calls an ``async def`` function with the job and the linked repositories it names."""

    def __init__(
        self,
        name: str,
        done: MetadataRepository | None,
        ready: Repository | None = None,
        func: TaskFunction | None = None,
        *,
        attempts: MetadataRepository | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """:param func: the function, if the task is not used as a decorator.
        :param attempts: keeps failed attempts, so that counting goes on after a restart of the controller.
        :param options: see :class:`RunOptions`.
        """
        super().__init__(name, done, ready, **options)
        self.func = func
        self.attempts = attempts
        if attempts is not None:
            self.link("attempts", attempts, is_status=True)
        self._failed: dict[str, list[dict[str, Any]]] = {}
        self._repeated: dict[str, int] = {}
        """The attempts that are live and not the first, by job."""
        self._arguments: dict[str, Repository] = {}
        self._job_by_name = True

    def __call__(self, func: TaskFunction) -> Self:
        """Take the function: the task is a decorator."""
        self.func = func
        return self

    @override
    def validate(self) -> None:
        super().validate()
        self.prepare()

    def prepare(self) -> None:
        """Check the function's parameters against the links, and keep what it will be called with.

        :raises ConfigurationError: naming task, parameter and fix.
        """
        func = self.func
        if func is None:
            raise ConfigurationError(
                f"Task {self.name!r} has no function. Put the task as a decorator above one, or pass func=."
            )
        if not inspect.iscoroutinefunction(func):
            raise ConfigurationError(f"Task {self.name!r}: {func!r} is no coroutine function. Write 'async def'.")
        parameters = list(inspect.signature(func).parameters.values())
        named = {parameter.name: parameter for parameter in parameters}
        self._job_by_name = "job" in named
        if not self._job_by_name:
            named.pop(parameters[0].name, None) if parameters else None
        hints = _annotations(func)
        self._arguments = {}
        for parameter in named.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                self._arguments.update((name, link.repo) for name, link in self.links.items() if name not in named)
            elif parameter.name != "job" and parameter.kind is not parameter.VAR_POSITIONAL:
                self._take(parameter, hints.get(parameter.name))

    def _take(self, parameter: inspect.Parameter, hint: object) -> None:
        link = self.links.get(parameter.name)
        if link is None:
            if parameter.default is not parameter.empty:
                return
            raise ConfigurationError(
                f"Task {self.name!r}: the function has a parameter {parameter.name!r}, and no link has that name. "
                f"Add {self.name}.link({parameter.name!r}, repository, ...), or give it a default. "
                f"Links: {', '.join(self.links) or 'none'}."
            )
        if isinstance(hint, type) and issubclass(hint, Repository) and not isinstance(link.repo, hint):
            raise ConfigurationError(
                f"Task {self.name!r}: parameter {parameter.name!r} wants a {hint.__name__}, and its link is to "
                f"{link.repo!r}. Link a repository of that kind, or change the annotation."
            )
        self._arguments[parameter.name] = link.repo

    @property
    def arguments(self) -> Mapping[str, Repository]:
        """The repositories that the function is called with."""
        return self._arguments

    def invoke(self, job: str) -> Awaitable[None]:
        """Call the function with its arguments for a job."""
        func = self.func
        assert func is not None
        if self._job_by_name:
            return func(job=job, **self._arguments)
        return func(job, **self._arguments)

    @abstractmethod
    def attempt(self, job: str) -> Awaitable[RunRecord | None]:
        """Call the function once where this task runs it. None if the job was taken back before it began."""

    @override
    async def run(self, job: str) -> Ended | Again | Dropped:
        earlier = await self._earlier(job) if self._failed or self.attempts is not None else ()
        if earlier:
            self._repeated[job] = len(earlier) + 1
        try:
            record = await self.attempt(job)
        finally:
            if earlier:
                self._repeated.pop(job, None)
        if record is None:
            return Dropped()
        if earlier:
            record.attempt = len(earlier) + 1
            record.attempts = earlier
        if record.cause is not None:
            delay = self.retries.delay_after(record.cause, record.attempt)
            if delay is not None:
                await self._keep(job, record, delay)
                return Again(record, delay)
        await self.publish(job, record)
        if earlier:
            await self._forget(job)
        return Ended(record)

    async def _earlier(self, job: str) -> list[dict[str, Any]]:
        if self.attempts is None:
            return self._failed.get(job, [])
        if not await self.attempts.contains(job):
            return []
        stored = list(await self.attempts.info(job))
        return [{name: value for name, value in attempt.items() if name != DUE} for attempt in stored]

    @override
    async def next_attempts(self) -> Mapping[str, NextAttempt]:
        stored = {} if self.attempts is None else await self.attempts.info_all()
        planned = {job: NextAttempt.after(attempts) for job, attempts in stored.items()}
        return {job: one for job, one in planned.items() if one is not None}

    @override
    def attempt_of(self, job: str) -> int | None:
        return self._repeated.get(job, 1)

    async def _keep(self, job: str, record: RunRecord, delay: float) -> None:
        data = record.data()
        data.pop("attempts", None)
        if self.attempts is None:
            self._failed[job] = [dict(attempt) for attempt in (*record.attempts, data)]
            return
        # So that a controller that is started meanwhile does not start the job before its time.
        planned = [*record.attempts, {**data, DUE: now() + timedelta(seconds=delay)}]
        await store(partial(self.attempts.dump, job, planned), f"{self.name} failed on {job}, which cannot be kept")

    async def _forget(self, job: str) -> None:
        self._failed.pop(job, None)
        if self.attempts is not None:
            await store(partial(self.attempts.delete, job), f"{self.name}: the attempts on {job} cannot be deleted")


class InProcessSyncTask(FunctionTask):
    """A function that runs on the controller's own event loop.

    A run that the controller's death interrupts is started again: what it wrote before stays, as it was published.
    """

    def __init__(
        self,
        name: str,
        done: MetadataRepository | None,
        ready: Repository | None = None,
        func: TaskFunction | None = None,
        *,
        attempts: MetadataRepository | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """Up to 15 jobs run at a time, unless ``max_concurrent`` says otherwise."""
        options.setdefault("max_concurrent", 15)
        super().__init__(name, done, ready, func, attempts=attempts, **options)

    @override
    def attempt(self, job: str) -> Awaitable[RunRecord]:
        return call(self.invoke, job, self.timeout)


def _annotations(func: TaskFunction) -> dict[str, Any]:
    try:
        return get_type_hints(func)
    except (NameError, TypeError, AttributeError):
        # Names that exist for type checkers alone; then there is nothing to check by.
        return {}
