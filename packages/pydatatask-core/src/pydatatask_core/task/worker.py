"""What happens to a function task's job in a worker: a thread of this process, or another process altogether.

A worker runs async functions on an event loop of its own, one per thread, kept from one job to the next together
with the session resources that were opened on it. A worker process finds the task by importing the pipeline's
module again, so nothing but names crosses the boundary.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import importlib.util
import multiprocessing
import multiprocessing.util
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from attrs import frozen

from ..errors import ConfigurationError
from ..session import Session
from .base import Task
from .function import FunctionTask, call
from .record import RunRecord
from .run import cancelled_from_outside

if TYPE_CHECKING:
    from .executor import ExecutorTask

__all__ = ["Origin", "ThreadLoops", "become_worker", "origin_of", "run_by_origin"]


class ThreadLoops:
    """The event loops of worker threads, each with the session resources that its jobs needed."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._all: list[_ThreadLoop] = []

    @property
    def used(self) -> bool:
        """Whether there is anything to close."""
        return bool(self._all)

    def run(self, task: ExecutorTask, session: Session, job: str) -> RunRecord:
        """Run a job of a task on the calling thread's own loop, and wait for it."""
        loop: _ThreadLoop | None = getattr(self._local, "loop", None)
        if loop is None:
            loop = self._local.loop = _ThreadLoop()
            self._all.append(loop)
        loop.sessions.add(session)
        with loop.lock:
            return loop.run(lambda: _run(task, session, job))

    def close(self) -> None:
        """Close the resources and loops of all threads, each when its job has ended. No job may come after.

        :raises ExceptionGroup: of all that failed; everything is closed all the same.
        """
        failures: list[Exception] = []
        while self._all:
            loop = self._all.pop()
            with loop.lock:
                for session in loop.sessions:
                    try:
                        loop.runner.run(session.close())
                    except Exception as error:  # noqa: BLE001  # collected; all are raised below
                        failures.append(error)
                loop.runner.close()
        self._local = threading.local()
        if failures:
            raise ExceptionGroup("Closing the resources of worker threads failed", failures)


class _ThreadLoop:
    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.sessions: set[Session] = set()
        self.lock = threading.Lock()

    def run(self, function: Callable[[], Coroutine[None, None, RunRecord]]) -> RunRecord:
        """Run a coroutine function to its end, whatever the asyncio tasks do that it starts."""
        calls: list[asyncio.Task[RunRecord]] = []

        async def begin() -> RunRecord:
            calls.append(cast("asyncio.Task[RunRecord]", asyncio.current_task()))
            return await function()

        try:
            return self.runner.run(begin())
        except (SystemExit, KeyboardInterrupt):
            # Raised by a task that the function started, which stops the loop at once. The function is told of it.
            while not calls[0].done():
                with contextlib.suppress(SystemExit, KeyboardInterrupt):
                    self.runner.get_loop().run_until_complete(calls[0])
            return calls[0].result()


async def _run(task: FunctionTask, session: Session, job: str) -> RunRecord:
    async def function(job: str) -> None:
        # Within the call, so that a resource that cannot be opened is the job's failure, with its cause.
        await session.ensure(task.resources)
        await task.invoke(job)

    # Nobody interrupts a worker's loop or cancels its tasks: whatever happens there is the function's own doing.
    cancelled_from_outside.set(lambda: False)
    return await call(function, job, task.timeout, lambda error: isinstance(error, GeneratorExit))


@frozen
class Origin:
    """Where a worker process finds a task again."""

    module: str
    file: str | None
    task: str


def origin_of(task: FunctionTask) -> Origin:
    """Say where a worker process finds a task.

    :raises ConfigurationError: if it cannot be found at the top level of a module.
    """
    name = getattr(task.func, "__module__", "")
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if module is None or _find(module, task.name) is not task:
        raise ConfigurationError(
            f"Task {task.name!r} runs in other processes, which look for it in module {name!r}, and it is not there. "
            "Make the task, or the Pipeline that holds it, a global of the module that defines its function."
        )
    return Origin(name, None if file is None else str(Path(file).absolute()), task.name)


_loops = ThreadLoops()
_tasks: dict[Origin, tuple[FunctionTask, Session]] = {}


def run_by_origin(origin: Origin, job: str) -> RunRecord:
    """Run a job in a worker process. Called there by the executor.

    :raises ConfigurationError: if the task cannot be found, or cannot work there.
    """
    if origin not in _tasks:
        become_worker()
        task = _load(origin)
        task.prepare()
        _tasks[origin] = task, _session_of(task, origin)
    task, session = _tasks[origin]
    return _loops.run(task, session, job)  # type: ignore[arg-type]  # any function task runs the same way


def _session_of(task: FunctionTask, origin: Origin) -> Session:
    from ..session import Resource

    sessions = {resource.session for resource in task.resources if isinstance(resource, Resource)}
    if len(sessions) > 1:
        raise ConfigurationError(f"Task {origin.task!r} uses resources of {len(sessions)} sessions. Use one session.")
    return sessions.pop() if sessions else Session()


def _load(origin: Origin) -> FunctionTask:
    for module in _candidates(origin):
        task = _find(module, origin.task)
        if isinstance(task, FunctionTask):
            return task
    raise ConfigurationError(
        f"A worker process cannot find task {origin.task!r} in {origin.file or origin.module}. "
        "Make the task, or the Pipeline that holds it, a global of that module."
    )


def _candidates(origin: Origin) -> Iterator[ModuleType]:
    for name in (origin.module, "__mp_main__", "__main__"):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is not None and (str(Path(file).absolute()) if file else None) == origin.file:
            yield module
    if origin.file is None or origin.module != "__main__":
        try:
            yield importlib.import_module(origin.module)
        except ModuleNotFoundError:
            pass
    if origin.file is not None:
        yield _load_file(origin.file)


def _load_file(file: str) -> ModuleType:
    name = f"pydatatask_pipeline_{hashlib.sha256(file.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"A worker process cannot load {file} as Python.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    # The script's own folder is where its imports are.
    sys.path.insert(0, str(Path(file).parent))
    spec.loader.exec_module(module)
    return module


def _find(module: ModuleType, name: str) -> Task | None:
    for value in list(vars(module).values()):
        if isinstance(value, Task) and value.name == name:
            return value
        tasks = getattr(value, "tasks", None)
        if isinstance(tasks, dict):
            task = tasks.get(name)
            if isinstance(task, Task):
                return task
    return None


_mortal = False


def become_worker() -> None:
    """Leave Ctrl-C to the controller, close what was opened at exit, and die with the controller."""
    global _mortal
    parent = multiprocessing.parent_process()
    if _mortal or parent is None or parent.pid is None:
        return
    _mortal = True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    multiprocessing.util.Finalize(None, _loops.close, exitpriority=100)
    threading.Thread(target=_die_with, args=(parent.pid,), name="pydatatask-parent", daemon=True).start()


def _die_with(parent: int) -> None:
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(parent)
        except OSError:
            os._exit(1)
        # Told by a pipe of the parent's, so it cannot be another process that has its number now.
        if _parent_lives():
            select.select([descriptor], [], [])
    else:
        stop = threading.Event()
        while _parent_lives():
            stop.wait(1.0)
    os._exit(1)


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is not None and parent.is_alive()
