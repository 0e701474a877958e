"""A pipeline: tasks plus a session. What a user makes, opens and runs."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from typing_extensions import override

from ..errors import ConfigurationError, PydatataskError
from ..repository.protocols import CreatingRepository, Repository
from ..session import Session
from ..task.base import Task
from ..task.executor import ExecutorTask
from ..task.run import RunTask
from .controller import Controller
from .desk import answer, desk_beside, open_desk
from .events import Observer
from .feed import Polling
from .graph import Graph
from .lease import Lease
from .lock import FileLock, Holder, PipelineLock
from .opening import Opening, give_up, open_all
from .quota import ResourceManager

__all__ = ["Pipeline"]


class Pipeline:
    """An unordered collection of tasks and the session that owns their live resources.

    What a task waits for follows from the repositories that tasks share. As an async context manager the pipeline
    is open for running: resources are live, repositories are made and checked, tasks are checked.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        session: Session,
        resources: Iterable[ResourceManager] = (),
        priority: Callable[[str, str], int] | None = None,
        *,
        lock: CreatingRepository | PipelineLock | None = None,
    ) -> None:
        """:param resources: the resource managers that tasks share; those of the tasks are found without.
        :param priority: of a task's name and a job; ready jobs of a higher priority start first.
        :param lock: where the lease lives that lets one controller at a time drive this pipeline. Without it, a lock
            file guards the pipelines of one script on one machine.
        :raises ConfigurationError: if two tasks have one name.
        """
        self.tasks: dict[str, Task] = {}
        for task in tasks:
            if not isinstance(task, Task):
                raise ConfigurationError(f"A pipeline is made of tasks, and {task!r} is none.")
            if task.name in self.tasks:
                raise ConfigurationError(f"Two tasks of this pipeline are named {task.name!r}. Rename one.")
            self.tasks[task.name] = task
        self.session = session
        self.resources = tuple(resources)
        self.priority = priority
        self.polling = Polling()
        """How stores that cannot notify are polled."""
        self.controller: Controller | None = None
        """The controller of the run that is going on, if one is."""
        self._open = False
        self._unopened: dict[str, Opening] = {}
        self._lock = Lease(lock) if isinstance(lock, CreatingRepository) else lock
        self.script: str | None = _script_that_calls()
        """The script that this pipeline is run by, which the lock file is named after."""

    @override
    def __repr__(self) -> str:
        return f"<Pipeline of {', '.join(self.tasks) or 'no tasks'}>"

    def settings(self, synchronous: bool = False, metadata: bool = True) -> None:
        """Set properties of the runs that follow.

        :param synchronous: run tasks in this process where they can be, instead of on their site.
        :param metadata: publish done records.
        """
        for task in self.tasks.values():
            if isinstance(task, RunTask):
                task.synchronous = synchronous
                task.metadata = metadata

    @property
    def graph(self) -> Graph:
        """Who feeds whom."""
        return Graph(self.tasks.values())

    def repositories(self) -> Mapping[str, Repository]:
        """Give every linked repository once, by location."""
        return {location: node.repo for location, node in self.graph.repositories.items()}

    async def open(self) -> None:
        """Open the session, check the tasks, and make what repositories need to be written to.

        A store that does not answer within a few seconds is in :attr:`unreachable` afterwards; a run opens it as soon
        as it answers. After a failure everything is closed again.

        :raises ConfigurationError: if a task or repository cannot work as it was made.
        :raises StoreUnavailableError: if a store refuses us: our credentials, or the request.
        """
        self.check()
        await self.session.open()
        try:
            self._unopened, wrong = await open_all(self.repositories())
            _raise(wrong)
        except BaseException:
            await self._forget_unopened()
            await self.session.close()
            raise
        self._open = True

    @property
    def unreachable(self) -> Mapping[str, Exception]:
        """Why stores could not be opened yet, by location."""
        return {location: opening.error for location, opening in self._unopened.items()}

    async def settled(self) -> Mapping[str, Exception]:
        """Wait until each store is open or was found to be unreachable, and give :attr:`unreachable`."""
        for location, opening in list(self._unopened.items()):
            if await opening.settle():
                del self._unopened[location]
        return self.unreachable

    async def _forget_unopened(self) -> None:
        unopened, self._unopened = self._unopened, {}
        await give_up(opening.attempt for opening in unopened.values() if opening.attempt is not None)

    def check(self) -> None:
        """Check the tasks without touching any store.

        :raises ConfigurationError: naming the task and the fix; all of them, if there are several.
        """
        failures: list[BaseException | None] = []
        for task in self.tasks.values():
            if isinstance(task, ExecutorTask):
                task.session = self.session
            try:
                task.validate()
            except PydatataskError as error:
                failures.append(error)
        _raise(failures)

    async def close(self) -> None:
        """Close the session, and what workers opened. Does nothing if the pipeline is closed.

        :raises ExceptionGroup: of all that failed; everything is closed all the same.
        """
        if not self._open:
            return
        self._open = False
        await self._forget_unopened()
        failures: list[BaseException | None] = list(
            await asyncio.gather(
                *(task.closed() for task in self.tasks.values() if isinstance(task, RunTask)), return_exceptions=True
            )
        )
        try:
            await self.session.close()
        except Exception as error:  # noqa: BLE001  # raised below with the others
            failures.append(error)
        _raise(failures)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Self]:
        """Open the session alone, for looking at repositories: nothing is made, checked or mended."""
        async with self.session:
            yield self

    @property
    def lock(self) -> PipelineLock | None:
        """What lets one controller at a time drive this pipeline; None if nothing does."""
        if self._lock is None and self.script is not None:
            self._lock = FileLock(self.script)
        return self._lock

    @asynccontextmanager
    async def locked(self, lost: Callable[[], None] | None = None) -> AsyncIterator[None]:
        """Hold the pipeline's lock, for whatever changes something. The session must be open.

        :param lost: called if the lock can be kept no longer: launch nothing more.
        :raises LockHeldError: if another controller holds it.
        """
        lock = self.lock
        if lock is None:
            yield
            return
        await lock.acquire(lost or (lambda: None))
        self._let_begin(lock.is_held)
        try:
            yield
        finally:
            self._let_begin(lambda: True)
            await lock.release()

    def _let_begin(self, may_begin: Callable[[], bool]) -> None:
        for task in self.tasks.values():
            if isinstance(task, RunTask):
                task.may_begin = may_begin

    def make_controller(
        self, observers: Iterable[Observer] = (), *, fail_fast: bool = False, leave: bool = False
    ) -> Controller:
        """Make a controller for one run, to be driven and watched by the caller. The pipeline must be open.

        :raises ConfigurationError: if the pipeline is not open, or a run is going on.
        """
        if not self._open:
            raise ConfigurationError("The pipeline is not open. Use 'async with pipeline:' around it.")
        return Controller(
            list(self.tasks.values()),
            priority=self.priority,
            observers=observers,
            polling=self.polling,
            fail_fast=fail_fast,
            leave=leave,
            unopened=self._unopened,
        )

    async def run(
        self,
        forever: bool = False,
        launch_once: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109  # positional in earlier releases
        *,
        observers: Iterable[Observer] = (),
        fail_fast: bool = False,
        leave: bool = False,
    ) -> Controller:
        """Run until nothing is left to do; see :meth:`Controller.run`. Gives the controller, which knows what happened.

        :param timeout: seconds after which to give up.
        :param leave: start runs on other sites, and do not wait for their ends.
        :raises LockHeldError: if another controller drives this pipeline.
        :raises TimeoutError: after that time. What ran in this process was cancelled.
        :raises SiteCredentialsError: if a site refuses us when its runs are looked for. No job was started then.
        :raises StoreUnavailableError: if a store stays unreachable and nothing else is left to do.
        """
        controller = self.make_controller(observers, fail_fast=fail_fast, leave=leave)
        if self.controller is not None:
            raise ConfigurationError("This pipeline is running already.")
        self.controller = controller
        try:
            async with self.locked(controller.stop), self._told(controller), asyncio.timeout(timeout):
                await controller.run(forever=forever, launch_once=launch_once)
        except TimeoutError as error:
            raise TimeoutError(f"The pipeline was not done after {timeout} seconds.") from error
        finally:
            self.controller = None
        return controller

    @property
    def desk(self) -> Path | None:
        """Where a controller that runs this pipeline on this machine answers questions; see :mod:`.desk`."""
        if isinstance(self._lock, FileLock):
            return desk_beside(self._lock.path)
        return None if self.script is None else desk_beside(FileLock(self.script).path)

    @asynccontextmanager
    async def _told(self, controller: Controller) -> AsyncIterator[None]:
        """Answer other commands' questions about a run."""
        desk = self.desk
        if desk is None:
            yield
            return
        holder = Holder.this_process()
        async with open_desk(desk, partial(answer, controller, self.tasks, holder)):
            yield

    async def update(self) -> bool:
        """Do one round: see what changed, start what is ready now, and wait for what runs in this process.

        Runs on other sites go on; a later round sees their ends.

        :returns: whether anything was started or is live.
        """
        controller = await self.run(launch_once=True, leave=True)
        return any(task.launched or task.live for task in controller.progress())

    def dependants(self, node: Repository | Task, recursive: bool) -> Iterable[Repository | Task]:
        """Give what depends on a repository or task: the next ones, or all of them."""
        graph = self.graph
        seen: dict[str, Repository | Task] = {}
        todo = [node]
        while todo:
            current = todo.pop(0)
            following: list[Repository | Task]
            if isinstance(current, Task):
                following = [edge.link.repo for edge in graph.outputs_of(current.name)]
            else:
                following = [self.tasks[name] for name in graph.tasks_reading(current.location)]
            for item in following:
                key = f"task {item.name}" if isinstance(item, Task) else item.location
                if key not in seen:
                    seen[key] = item
                    if recursive:
                        todo.append(item)
        return list(seen.values())


def _script_that_calls() -> str | None:
    """Give the script that is being run, if it is what makes the pipeline."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") != "__main__":
        return None
    file = frame.f_globals.get("__file__")
    # However the script is reached, it is one pipeline.
    return None if file is None else os.path.realpath(str(file))


def _raise(results: Iterable[BaseException | None]) -> None:
    """Raise the failure among the results, or the group of them."""
    failures = [result for result in results if isinstance(result, BaseException)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} things are wrong with this pipeline", failures)
