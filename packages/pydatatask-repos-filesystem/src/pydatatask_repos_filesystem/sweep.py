"""What validating a repository does to its folder: make it, mend it, and sweep it. Everything here blocks."""

# ruff: noqa: PTH103, PTH104, PTH120  # paths are strings here: a Path costs as much as the system call it is made for

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable

from pydatatask_core.errors import ConfigurationError

from .folder import Folder
from .names import MARK, HiddenName, parsed
from .tree import remove

__all__ = ["prepare"]

_log = logging.getLogger("pydatatask.repository")

DAY = 24 * 60 * 60
"""Seconds that a leftover is left alone."""


def prepare(folder: Folder, now: Callable[[], float] = time.time) -> list[str]:
    """Make the folder if it is not there, bring back what was lost between two renames, and delete old leftovers.

    A leftover is deleted when its name is one of ours, it was last changed a day ago, and nobody holds it. Gives the
    file names that were brought back.

    :raises ConfigurationError: if something that is no folder stands in its place.
    """
    _make(folder)
    brought_back: list[str] = []
    try:
        with os.scandir(folder.path) as entries:
            leftovers = [(entry.name, hidden) for entry in entries if (hidden := _ours(entry.name))]
        for name, hidden in leftovers:
            if _mend(folder, name, hidden, now() - DAY):
                brought_back.append(hidden.name)
    except PermissionError as error:
        # A folder may be there to be read, or its entries to be opened by name, and no more.
        _log.debug("Cannot look for leftovers in %s: %s.", folder.path, error)
    return brought_back


def _make(folder: Folder) -> None:
    missing: list[str] = []
    path = folder.path
    while folder.sync is not None and not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        os.makedirs(folder.path, exist_ok=True)
        folder.require()
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"Cannot keep values in {folder.path}: a part of this path is no folder. Give another basedir."
        ) from error
    for made in missing:
        _sync_parent(made, folder)


def _sync_parent(path: str, folder: Folder) -> None:
    assert folder.sync is not None
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder.sync(fd)
    finally:
        os.close(fd)


def _ours(name: str) -> HiddenName | None:
    return parsed(name) if name.startswith(MARK) else None


def _mend(folder: Folder, name: str, hidden: HiddenName, yesterday: float) -> bool:
    """Deal with one leftover; tell whether a value was brought back."""
    path, target = f"{folder.path}/{name}", f"{folder.path}/{hidden.name}"
    try:
        status = os.lstat(path)
        if hidden.kind != "old" and status.st_mtime >= yesterday:
            return False
        held = _is_held(path, status.st_mode)
        if hidden.kind == "old" and held is not True and not os.path.lexists(target):
            os.rename(path, target)
            return True
        if held is False:
            remove(path)
    except FileNotFoundError:
        pass  # whoever made it is done with it
    except OSError as error:
        _log.warning("Cannot deal with the leftover %s: %s.", path, error)
    return False


def _is_held(path: str, mode: int) -> bool | None:
    """Tell whether a living process holds what stands at a path; None if that cannot be told."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return False
    # Some network file systems give an exclusive lock only to writers.
    access = os.O_RDWR if stat.S_ISREG(mode) else os.O_RDONLY | os.O_DIRECTORY
    fd = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        _log.warning("Cannot tell whether the leftover %s is in use, so it stays: %s.", path, error)
        return None
    finally:
        os.close(fd)
    return False
