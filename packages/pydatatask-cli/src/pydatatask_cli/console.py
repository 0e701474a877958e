"""An interactive Python in which ``await`` works and the pipeline is open: what ``shell`` starts.

The console and the event loop that the pipeline is open on have a thread each: what is awaited runs on the loop, so
that live resources can be used as they are, and the console can wait for input meanwhile.
"""

from __future__ import annotations

import ast
import asyncio
import code
import importlib
import importlib.util
import inspect
import threading
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from types import CodeType, FunctionType
from typing import Any

from pydatatask_core.pipeline.pipeline import Pipeline
from typing_extensions import override

from .status_view import narrate_errors

__all__ = ["interact", "interact_beside"]

BANNER = """The pipeline is open as 'pipeline', its tasks are in 'tasks', and 'await' works. For example:
[job async for job in tasks['NAME'].links['LINK'].repo]"""


def interact(pipeline: Pipeline) -> None:
    """Open the pipeline on a loop in another thread, and run a console here until the user leaves it.

    Ctrl-C ends what the console waits for, and not the console. IPython is used where it is installed.
    """
    opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def hold() -> None:
        leave = asyncio.Event()
        async with pipeline:
            narrate_errors(pipeline.unreachable)
            opened.set_result((asyncio.get_running_loop(), leave))
            await leave.wait()

    def fail(held: Future[None]) -> None:
        error = held.exception()
        if error is not None and not opened.done():
            opened.set_exception(error)

    with ThreadPoolExecutor(1, "pydatatask-loop") as threads:
        held = threads.submit(lambda: asyncio.run(hold()))
        held.add_done_callback(fail)
        loop, leave = opened.result()
        try:
            _console(pipeline, loop)
        finally:
            loop.call_soon_threadsafe(leave.set)
        held.result()


async def interact_beside(pipeline: Pipeline) -> None:
    """Run a console in another thread until the user leaves it. The pipeline must be open on the running loop."""
    loop = asyncio.get_running_loop()
    left: asyncio.Future[None] = loop.create_future()

    def leave() -> None:
        if not left.done():
            left.set_result(None)

    def run() -> None:
        try:
            _console(pipeline, loop)
        finally:
            loop.call_soon_threadsafe(leave)

    # A daemon, because a read from the terminal cannot be cut short when the caller is cancelled.
    threading.Thread(target=run, name="pydatatask-shell", daemon=True).start()
    await left


def _console(pipeline: Pipeline, loop: asyncio.AbstractEventLoop) -> None:
    names = {"pipeline": pipeline, "tasks": dict(pipeline.tasks)}
    if importlib.util.find_spec("IPython"):
        _ipython(names, loop)
        return
    if importlib.util.find_spec("readline"):
        # Its import gives the console line editing.
        importlib.import_module("readline")
    _Console(names, loop).interact(banner=BANNER, exitmsg="")


class _Console(code.InteractiveConsole):
    def __init__(self, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(names)
        self._loop = loop
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    @override
    def runcode(self, code: CodeType) -> None:
        try:
            if code.co_flags & inspect.CO_COROUTINE:
                _await(FunctionType(code, self.locals)(), self._loop)
            else:
                exec(code, self.locals)  # noqa: S102  # an interactive Python is what was asked for
        except SystemExit:
            raise
        except KeyboardInterrupt:
            self.write("\nKeyboardInterrupt\n")
        except BaseException:  # noqa: BLE001  # shown to the user, as an interactive Python does
            self.showtraceback()


def _ipython(names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
    # Optional, and so imported by name.
    embed = importlib.import_module("IPython.terminal.embed")
    shell = embed.InteractiveShellEmbed(banner1=f"{BANNER}\n", user_ns=names)
    shell.loop_runner = lambda coroutine: _await(coroutine, loop)
    shell.autoawait = True
    shell.mainloop()


def _await(coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
    """Wait for a coroutine on the pipeline's loop; Ctrl-C cancels it."""
    waiting = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return waiting.result()
    except KeyboardInterrupt:
        waiting.cancel()
        raise
