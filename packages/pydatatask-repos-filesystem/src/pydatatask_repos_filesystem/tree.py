"""Directories in the making and on their way out: staged and deleted under hidden names. Everything here blocks."""

# ruff: noqa: PTH102, PTH104, PTH108, PTH112, PTH118  # paths are strings here: a Path costs as much as the system call it is made for

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
from collections.abc import Callable

from ._errors import InTheWayError
from .folder import Change, Folder

__all__ = ["Stage", "delete_tree", "make_directory", "remove", "replace"]

_log = logging.getLogger("pydatatask.repository")

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OCCUPIED = frozenset((errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR))


class Stage:
    """A private directory that becomes a job's value. It is locked, so that nobody takes it for a leftover."""

    def __init__(self, folder: Folder, job: str, exchange: Callable[[str, str], bool]) -> None:
        self._folder = folder
        self._target = folder.target(job)
        self._exchange = exchange
        self.path = folder.hidden("new", self._target)
        self.published = False
        try:
            os.mkdir(self.path)
        except FileNotFoundError:
            folder.require()
            raise
        self._lock = hold(self.path)

    def publish(self) -> Change:
        """Publish the directory; ``made`` tells whether it is a value. After a failure it is there to be discarded."""
        if self._folder.sync is not None:
            sync_tree(self.path, self._folder.sync)
        is_value = self._folder.is_value(self.path)
        try:
            before = replace(self._folder, self.path, self._target, self._exchange)
        except FileNotFoundError:
            self._folder.require()
            raise
        self.published = True
        self._release()
        change = Change(made=is_value, unsynced=self._folder.sync_names())
        for path in before:
            remove(path)
        return change

    def discard(self) -> None:
        """Leave nothing of it."""
        self._release()
        remove(self.path)

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def hold(path: str) -> int | None:
    """Lock a directory against being swept, until the file descriptor given is closed; None if it cannot be locked."""
    try:
        fd = os.open(path, _OPEN)
    except OSError as error:
        _log.debug("Cannot open %s to lock it: %s.", path, error)
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        _log.debug("Cannot lock %s: %s.", path, error)
        os.close(fd)
        return None
    return fd


def replace(folder: Folder, stage: str, target: str, exchange: Callable[[str, str], bool]) -> list[str]:
    """Give a directory its public name and give the hidden paths of what had it before, to be removed.

    One rename if the name is free, one exchange if the system can, and else two renames. A process killed between
    those two leaves the old value under a hidden name, from which validating the repository brings it back.
    """
    before: list[str] = []
    while True:
        try:
            os.rename(stage, target)
            return before
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        try:
            mode = os.lstat(target).st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise InTheWayError(errno.EEXIST, "a file is in the way", target)
            if exchange(stage, target):
                return [*before, stage]
            replaced = _swap(folder, stage, target, before)
        except FileNotFoundError:
            continue  # somebody else took away what stood in the way
        if replaced:
            return before


def _swap(folder: Folder, stage: str, target: str, before: list[str]) -> bool:
    """Replace a directory by two renames, and add the hidden path of the old one to ``before``.

    False if somebody else's took the name in between: that must go next.
    """
    old, gone = folder.hidden("old", target), folder.hidden("gone", target)
    lock = hold(target)
    try:
        os.rename(target, old)
        try:
            os.rename(stage, target)
            replaced = True
        except OSError as error:
            if error.errno not in _OCCUPIED:
                os.rename(old, target)
                raise
            replaced = False
        # Whatever happens to the name from here on, this value must not come back.
        os.rename(old, gone)
        before.append(gone)
        return replaced
    finally:
        if lock is not None:
            os.close(lock)


def delete_tree(folder: Folder, job: str) -> Change:
    """Delete the job's directory, in all its spellings. Each leaves its name at once and whole."""
    change = Change(made=False)
    while found := folder.find(job):
        gone = folder.hidden("gone", found[0])
        try:
            os.rename(found[0], gone)
        except FileNotFoundError:
            continue  # somebody else deleted it at the same time
        change = Change(made=True, unsynced=folder.sync_names())
        remove(gone)
    return change


def make_directory(folder: Folder, job: str) -> Change:
    """Make the job's directory under its public name, if it is not there; ``made`` tells whether it is a value."""
    path = folder.target(job)
    try:
        os.mkdir(path)
    except FileNotFoundError:
        folder.require()
        raise
    except FileExistsError as error:
        if not os.path.isdir(path):
            raise InTheWayError(error.errno, "a file is in the way", path) from None
    return Change(made=folder.is_value(path), unsynced=folder.sync_names())


def remove(path: str) -> None:
    """Delete what stands at a hidden path. What cannot be deleted is told, and left to be swept: nobody sees it."""
    while True:
        try:
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            if os.path.lexists(path):
                continue  # somebody else deletes it too
        except OSError as error:
            _log.warning("Cannot delete the leftover %s: %s.", path, error)
        return


def sync_tree(path: str, sync: Callable[[int], None]) -> None:
    """Make all that is in a directory survive a loss of power."""
    for folder, _, names in os.walk(path, onerror=_raise):
        for name in names:
            file = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(file).st_mode):
                _sync(file, sync)
        _sync(folder, sync)


def _sync(path: str, sync: Callable[[int], None]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def _raise(error: OSError) -> None:
    raise error
