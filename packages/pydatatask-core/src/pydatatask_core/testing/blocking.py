"""Fails a test in which our code blocks the event loop: a file opened, a lock awaited, a sleep, outside of a thread.

A member's ``conftest.py`` takes both fixtures::

    from pydatatask_core.testing.blocking import may_block, no_blocking

    __all__ = ["may_block", "no_blocking"]

and may define ``may_block`` itself instead, to name functions that are known to block and must be borne.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest

if TYPE_CHECKING:
    from blockbuster import BlockBuster

__all__ = ["blocking_forbidden", "may_block", "no_blocking"]

Allowances = Mapping[str, Collection[str]]
"""Functions that may block, by the end of the path of the file they stand in."""

_BORNE: Allowances = {
    # Held for a few instructions only, by any thread.
    "repository/changes.py": ("channel_of", "listening"),
    # Starting worker processes is work of the loop's thread in the standard library.
    "concurrent/futures/process.py": ("submit",),
    "concurrent/futures/thread.py": ("submit",),
    # So is making the memory that they share, once per pool.
    "multiprocessing/sharedctypes.py": ("_new_value",),
    # Where log records go is the user's choice.
    "logging/__init__.py": ("callHandlers",),
}


@contextmanager
def blocking_forbidden(borne: Allowances | None = None) -> Iterator[None]:
    """Raise ``BlockingError`` where code of this project, or called by it, blocks a running event loop.

    The suites, and test files outside of our packages, may block. An error that was swallowed on its way up is
    raised again when the block ends.
    """
    # Not at the top: the suites can be used without it.
    import blockbuster.blockbuster as module

    caught: list[str] = []

    class Recorded(module.BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            caught.append(func)

    ours = sorted(name for name in sys.modules if name.startswith("pydatatask") and "." not in name)
    detector = module.BlockBuster(ours, excluded_modules=["pydatatask_core.testing"])
    _adjust(detector, ours)
    for path, functions in {**_BORNE, **(borne or {})}.items():
        for function in detector.functions.values():
            function.can_block_in(path, functions)
    with mock.patch.object(module, "BlockingError", Recorded):
        detector.activate()
        try:
            yield
        finally:
            detector.deactivate()
    if caught:
        raise module.BlockingError(f"{', '.join(caught)}, which was caught by somebody on its way up")


def _adjust(detector: BlockBuster, ours: list[str]) -> None:
    from blockbuster import BlockBusterFunction

    for name in ("os.fsync", "os.fdatasync", "os.truncate", "os.chmod", "os.utime"):
        detector.functions[name] = BlockBusterFunction(
            None, name, scanned_modules=ours, excluded_modules=["pydatatask_core.testing"]
        )
    # These ask the kernel for the name of the working folder, never a disk.
    for name in ("os.getcwd", "os.path.abspath"):
        del detector.functions[name]


@pytest.fixture(scope="session")
def may_block() -> Allowances:
    """Give functions that are borne to block, by file. Define your own to name some."""
    return {}


@pytest.fixture(autouse=True)
def no_blocking(may_block: Allowances) -> Iterator[None]:
    """Fail the test if our code blocks the event loop."""
    with blocking_forbidden(may_block):
        yield
