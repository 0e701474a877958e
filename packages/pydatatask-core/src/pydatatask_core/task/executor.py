"""Function tasks on any ``concurrent.futures.Executor``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import Any

from typing_extensions import Unpack, override

from ..clock import now
from ..errors import ConfigurationError
from ..job import check_job
from ..repository.changes import ChangeSource
from ..repository.expression import leaves
from ..repository.protocols import MetadataRepository, Repository
from ..session import Session
from .function import HOST, FunctionTask, TaskFunction, call, is_being_cancelled
from .pools import ANY, Ledger, latest, ledger_of, run_in_pool, shut_successors, successor
from .record import RunRecord
from .run import RunOptions
from .worker import Origin, ThreadLoops, origin_of, run_by_origin

__all__ = ["ExecutorLiveRepository", "ExecutorTask"]


class ExecutorLiveRepository(Repository):
    """The jobs that an :class:`ExecutorTask` handed to its executor. Infos are when each was handed over.

    Deleting a job takes it back if it has not started; a function that runs cannot be stopped.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.futures: dict[str, Future[RunRecord | None]] = {}
        self.since: dict[str, Any] = {}

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}>"

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.LOCAL

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for job in list(self.futures):
            yield job

    @override
    async def contains(self, job: str, /) -> bool:
        return check_job(job) in self.futures

    @override
    async def info(self, job: str, /) -> Any:
        return self.since.get(check_job(job))

    @override
    async def delete(self, job: str, /) -> None:
        future = self.futures.get(check_job(job))
        if future is not None:
            future.cancel()

    def begin(self, job: str, future: Future[RunRecord | None]) -> None:
        """Note that a job was handed to the executor."""
        self.futures[job] = future
        self.since[job] = now()
        self.changes.added(job)

    def end(self, job: str) -> None:
        """Note that the executor is done with a job."""
        self.futures.pop(job, None)
        self.since.pop(job, None)
        self.changes.removed(job)


class ExecutorTask(FunctionTask):
    """A function that runs in an executor's workers: threads, processes, or whatever the executor brings.

    In threads of this process the function is called as it is. Other workers find the task by importing the module
    that defines it, so their repositories must be reachable from there: memory repositories are refused. A thread or
    a foreign worker cannot be stopped: a timeout cancels the function where it awaits next, and is recorded when it
    has ended.

    A ``ProcessPoolExecutor`` breaks when one of its workers is killed. The jobs that workers were at are lost then,
    and are retried if ``retries`` says so; a new pool takes its place, for all tasks that share it, and gets the rest.
    """

    def __init__(
        self,
        name: str,
        executor: Executor,
        done: MetadataRepository | None,
        ready: Repository | None = None,
        func: TaskFunction | None = None,
        *,
        attempts: MetadataRepository | None = None,
        in_process: bool | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        """Up to 1000 jobs are handed to the executor at a time; its workers are its own matter.

        :param in_process: whether the executor runs functions in this process; known for thread pools.
        """
        options.setdefault("max_concurrent", 1000)
        super().__init__(name, done, ready, func, attempts=attempts, **options)
        self.executor = executor
        self.in_process = isinstance(executor, ThreadPoolExecutor) if in_process is None else in_process
        self.live = ExecutorLiveRepository(name)
        self.link("live", self.live, is_status=True, inhibits_start=True)
        self._loops = ThreadLoops()
        self._origin: Origin | None = None
        self._tickets: dict[str, tuple[Ledger, int]] = {}
        self.session: Session = Session()
        """The session whose resources the function uses; set when the pipeline opens."""

    @override
    def validate(self) -> None:
        super().validate()
        if self.in_process:
            return
        self._origin = origin_of(self)
        ledger_of(self.executor)
        for name, repo in self.arguments.items():
            if any(leaf.repo.change_source is ChangeSource.LOCAL for leaf in leaves(repo.expression)):
                raise ConfigurationError(
                    f"Task {self.name!r} runs in other processes, and link {name!r} is to {repo!r}, which lives in the "
                    "memory of this one. Link a repository on files, S3 or a database instead."
                )

    @property
    @override
    def elsewhere(self) -> bool:
        return not self.in_process

    @override
    async def attempt(self, job: str) -> RunRecord | None:
        if self.synchronous:
            return await call(self.invoke, job, self.timeout)
        future = self.live.futures.get(job)
        if future is None:
            try:
                future = self._submit(job)
            except (BrokenExecutor, RuntimeError) as error:
                raise self._unavailable(error) from error
            self.live.begin(job, future)
        try:
            return await self._outcome(job, future)
        finally:
            # A function that goes on although nobody waits for it is live until somebody does.
            if future.done():
                self.live.end(job)
                self._tickets.pop(job, None)

    async def _outcome(self, job: str, future: Future[RunRecord | None]) -> RunRecord | None:
        start = self.live.since[job]
        try:
            return await asyncio.wrap_future(future)
        except BrokenExecutor as error:
            ledger, ticket = self._tickets.get(job, (None, 0))
            if ledger is not None and not ledger.has_begun(ticket):
                if not ledger.has_begun(ANY):
                    raise self._unavailable(error) from error
                # No worker was at it. It is handed to the pool's successor.
                return None
            return RunRecord(
                result="lost", cause="lost", exception=str(error), start_time=start, end_time=now(), host=HOST
            )
        except asyncio.CancelledError:
            if is_being_cancelled():
                future.cancel()
                raise
            if not future.cancelled():
                raise
            return None

    @override
    async def live_jobs(self) -> list[str]:
        return list(self.live.futures)

    def _submit(self, job: str) -> Future[RunRecord | None]:
        executor = latest(self.executor)
        try:
            return self._hand_over(executor, job)
        except BrokenExecutor:
            following = successor(executor)
            if following is None:
                raise
            return self._hand_over(following, job)

    def _hand_over(self, executor: Executor, job: str) -> Future[RunRecord | None]:
        if self._origin is None:
            return executor.submit(self._run_in_thread, job)
        ledger = ledger_of(executor)
        if ledger is None:
            return executor.submit(run_by_origin, self._origin, job)
        ticket = ledger.ticket()
        self._tickets[job] = ledger, ticket
        return executor.submit(run_in_pool, self._origin, ticket, job)

    def _unavailable(self, error: Exception) -> ConfigurationError:
        # An executor that was shut down or broke for good is not waited for, as a site is.
        return ConfigurationError(
            f"Task {self.name!r}: the executor {self.executor!r} takes no more jobs ({error}). "
            "See that its workers can start, and start the pipeline again."
        )

    def _run_in_thread(self, job: str) -> RunRecord | None:
        # It may have waited for a long time.
        return self._loops.run(self, self.session, job) if self.may_begin() else None

    @override
    def stop(self) -> None:
        for future in list(self.live.futures.values()):
            future.cancel()

    @override
    async def closed(self) -> None:
        if self._loops.used:
            await asyncio.to_thread(self._loops.close)
        if latest(self.executor) is not self.executor:
            await asyncio.to_thread(shut_successors, self.executor)
