"""Files in the making: written under a hidden name beside the target, then renamed. Everything here blocks."""

# ruff: noqa: PTH104, PTH108  # paths are strings here: a Path costs as much as the system call it is made for

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterable
from io import FileIO

from ._errors import InTheWayError
from .folder import ABSENT, Change, Folder

__all__ = ["Draft", "create_whole", "delete_file", "open_file", "read_whole", "write_whole"]

_log = logging.getLogger("pydatatask.repository")

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# Somebody's pipe under a job's name must not keep a worker thread waiting for its other end.
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def write_whole(folder: Folder, job: str, data: bytes | bytearray) -> Change:
    """Publish a whole value with as few system calls as that takes.

    After a failure nothing is published and nothing left over.
    """
    target = folder.target(job)
    hidden = folder.hidden("new", target)
    fd = _create(folder, hidden)
    try:
        try:
            _write_all(fd, data)
            if folder.sync is not None:
                folder.sync(fd)
        finally:
            os.close(fd)
        _publish(folder, hidden, target)
    except BaseException:
        _discard(hidden)
        raise
    return Change(made=True, unsynced=folder.sync_names())


def create_whole(folder: Folder, job: str, data: bytes | bytearray) -> Change:
    """Publish a whole value if the job has none; the change tells whether it was made. The kernel decides.

    After a failure nothing is published and nothing left over.
    """
    target = folder.target(job)
    hidden = folder.hidden("new", target)
    fd = _create(folder, hidden)
    try:
        try:
            _write_all(fd, data)
            if folder.sync is not None:
                folder.sync(fd)
        finally:
            os.close(fd)
        if folder.any_case and folder.find(job):
            return Change(made=False)
        # Unlike a rename, a link is refused where something stands already.
        os.link(hidden, target)
    except FileExistsError:
        return Change(made=False)
    finally:
        _discard(hidden)
    return Change(made=True, unsynced=folder.sync_names())


class Draft:
    """A value that is written bit by bit. It is locked, so that nobody takes it for a leftover while it grows."""

    def __init__(self, folder: Folder, job: str) -> None:
        self._folder = folder
        self._target = folder.target(job)
        self._hidden = folder.hidden("new", self._target)
        # A file object complains when it is dropped without being closed.
        self._file = FileIO(_create(folder, self._hidden), "wb")
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            _log.debug("Cannot lock %s (%s). It can only be told from a leftover by its age.", self._hidden, error)

    def write(self, parts: Iterable[bytes | bytearray]) -> None:
        """Write all of the parts."""
        for part in parts:
            _write_all(self._file.fileno(), part)

    def publish(self) -> Change:
        """Publish what was written; see :func:`write_whole`."""
        try:
            with self._file:
                if self._folder.sync is not None:
                    self._folder.sync(self._file.fileno())
            _publish(self._folder, self._hidden, self._target)
        except BaseException:
            _discard(self._hidden)
            raise
        return Change(made=True, unsynced=self._folder.sync_names())

    def discard(self) -> None:
        """Leave nothing of it."""
        self._file.close()
        _discard(self._hidden)


def open_file(folder: Folder, job: str) -> FileIO:
    """Open the job's value for reading.

    :raises FileNotFoundError: if there is no such job.
    """
    path = folder.path_of(job)
    try:
        if folder.any_case and (found := folder.find(job)):
            path = found[0]
        fd = os.open(path, _READ)
    except OSError as error:
        # A socket cannot be opened at all.
        if error.errno not in ABSENT and error.errno != errno.ENXIO:
            raise
        folder.check()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    folder.seen = True
    return FileIO(fd, "rb")


def read_whole(folder: Folder, job: str) -> bytes:
    """Read the job's value.

    :raises FileNotFoundError: if there is no such job.
    """
    with open_file(folder, job) as file:
        return file.readall()


def delete_file(folder: Folder, job: str) -> Change:
    """Delete the job's value, in all its spellings."""
    change = Change(made=False)
    while found := folder.find(job):
        try:
            os.unlink(found[0])
        except FileNotFoundError:
            continue  # somebody else deleted it at the same time
        change = Change(made=True, unsynced=folder.sync_names())
    return change


def _create(folder: Folder, hidden: str) -> int:
    try:
        fd = os.open(hidden, _CREATE, 0o666)
    except FileNotFoundError:
        folder.require()
        raise
    folder.seen = True
    return fd


def _write_all(fd: int, data: bytes | bytearray) -> None:
    written = os.write(fd, data)
    if written < len(data):
        with memoryview(data) as rest:
            while written < len(data):
                written += os.write(fd, rest[written:])


def _publish(folder: Folder, hidden: str, target: str) -> None:
    try:
        os.rename(hidden, target)
    except IsADirectoryError as error:
        raise InTheWayError(error.errno, "a directory is in the way", target) from None
    except FileNotFoundError:
        folder.require()
        raise


def _discard(hidden: str) -> None:
    try:
        os.unlink(hidden)
    except FileNotFoundError:
        pass
    except OSError as error:
        # Whatever failed before is what the caller must hear. This file is hidden, and swept when it is a day old.
        _log.warning("Cannot delete the leftover %s: %s.", hidden, error)
