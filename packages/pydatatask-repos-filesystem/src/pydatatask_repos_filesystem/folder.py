"""A folder whose entries are named by job and extension. Everything here blocks, and belongs into a worker thread."""

# ruff: noqa: PTH116, PTH118  # paths are strings here: a Path costs as much as the system call it is made for

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import Generic, TypeVar

from attrs import frozen
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.repository.protocols import PAGE

from ._errors import FolderGoneError
from .mounts import is_local
from .names import Kind, Names

__all__ = ["ABSENT", "Change", "Folder", "Listing"]

T = TypeVar("T")

ABSENT = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
"""What the system says of a path when nothing usable stands there."""

_LONGEST_EXTENSION = 140
"""Bytes; with the longest job id and our mark before it, a name still fits into the 255 that file systems allow."""

_MOST_LETTERS = 8


@frozen
class Change:
    """What came of publishing or deleting a value."""

    made: bool
    """Whether the job is there now that it was published, or was there before it was deleted."""
    unsynced: OSError | None = None
    """Why the change, which stands, may not survive a loss of power, although that was asked for."""


class Folder:
    """Where a repository's values lie, and by what names.

    A folder that this object never saw is empty: nothing was made yet. One that it saw, and that is not there any
    more, is an error: somebody unmounted or deleted it, and nobody knows what it held.
    """

    def __init__(
        self, path: str, extension: str, *, directories: bool, any_case: bool, nonempty: bool, durable: bool
    ) -> None:
        self.path = path
        self.extension = extension
        self.directories = directories
        self.any_case = any_case
        self.nonempty = nonempty
        self._check_extension()
        kind = "directories" if directories else "files"
        flags = "".join(f",{name}" for name, flag in (("any-case", any_case), ("nonempty", nonempty)) if flag)
        self.real_path = os.path.realpath(path)
        self.location = f"{kind}{flags}:{os.path.join(self.real_path, '*' + extension)}"
        self.names = Names(self.location)
        self.sync: Callable[[int], None] | None = os.fsync if durable else None
        self.seen = False

    def _check_extension(self) -> None:
        bad = f"Cannot use the extension {self.extension!r} in folder {self.path}"
        if "/" in self.extension or "\0" in self.extension:
            raise ConfigurationError(f"{bad}: it is part of a file name. Put folders into basedir.")
        if len(os.fsencode(self.extension)) > _LONGEST_EXTENSION:
            raise ConfigurationError(f"{bad}: it is too long. Use at most {_LONGEST_EXTENSION} bytes.")
        if self.any_case and sum(letter.isalpha() for letter in self.extension) > _MOST_LETTERS:
            raise ConfigurationError(
                f"{bad} with case_insensitive: each spelling is looked up by itself, "
                f"so it may have at most {_MOST_LETTERS} letters."
            )

    @cached_property
    def _is_local(self) -> bool:
        return is_local(self.real_path)

    @property
    def is_quick(self) -> bool:
        """Whether operations on single entries take no longer than the computing around them."""
        return self._is_local and self.sync is None

    @property
    def is_watchable(self) -> bool:
        """Whether all changes to the set of values are seen by watching this folder and none in it."""
        return self._is_local and not self.nonempty

    @cached_property
    def _extensions(self) -> tuple[str, ...]:
        """The spellings of the extension that count, the one that is written first."""
        if not self.any_case:
            return (self.extension,)
        letters = (dict.fromkeys((letter, letter.lower(), letter.upper())) for letter in self.extension)
        return tuple("".join(spelling) for spelling in itertools.product(*letters))

    # one entry

    def path_of(self, job: str) -> str:
        """Give the path that the job's value is written to, if no other spelling of it is there."""
        return f"{self.path}/{job}{self.extension}"

    def find(self, job: str) -> tuple[str, os.stat_result] | None:
        """Give path and status of the job's value; None if there is none."""
        for extension in self._extensions:
            path = f"{self.path}/{job}{extension}"
            try:
                status = os.stat(path)
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                continue
            self.seen = True
            if self.is_value(path, status):
                return path, status
        self.check()
        return None

    def target(self, job: str) -> str:
        """Give the path to publish the job's value at: where it is, or else where it belongs."""
        if self.any_case and (found := self.find(job)):
            return found[0]
        return self.path_of(job)

    def hidden(self, kind: Kind, target: str) -> str:
        """Give a fresh hidden path beside a target."""
        name = target[len(self.path) + 1 :]
        return f"{self.path}/{self.names.fresh(kind, name)}"

    def job_of(self, name: str) -> str | None:
        """Give the job that a file name would stand for, valid or not; None for hidden and other names."""
        if name.startswith("."):
            return None
        end = len(name) - len(self.extension)
        extension = name[end:] if end >= 0 else None
        if extension == self.extension or (self.any_case and extension in self._extensions):
            return name[:end]
        return None

    def is_value(self, path: str, status: os.stat_result | None = None) -> bool:
        """Tell whether what stands at a path is of the kind that this folder holds."""
        mode = (status or os.stat(path)).st_mode
        if not self.directories:
            return stat.S_ISREG(mode)
        return stat.S_ISDIR(mode) and not (self.nonempty and _is_empty(path))

    # the folder itself

    def check(self) -> None:
        """Make sure that an entry which is not there is really not there.

        :raises FolderGoneError: if the folder is not there and was before.
        """
        try:
            self.identity()
        except FileNotFoundError:
            if self.seen:
                raise self.gone() from None

    def require(self) -> None:
        """Make sure that the folder is there.

        :raises FolderGoneError: if it is not.
        """
        try:
            self.identity()
        except FileNotFoundError:
            raise self.gone() from None

    def gone(self) -> FolderGoneError:
        """Give the error of a folder that is not there."""
        return FolderGoneError(
            f"the folder {self.path} is not there any more. Mount or restore it."
            if self.seen
            else f"the folder {self.path} does not exist. Opening the pipeline makes it, and so does validate()."
        )

    def identity(self) -> tuple[int, int]:
        """Give what tells this folder from one that takes its place.

        :raises FileNotFoundError: if there is none.
        :raises NotADirectoryError: if something else stands there.
        """
        status = os.stat(self.path)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.path)
        self.seen = True
        return status.st_dev, status.st_ino

    def sync_names(self) -> OSError | None:
        """Make what was renamed or deleted here survive a loss of power, where that was asked for; give the error."""
        if self.sync is None:
            return None
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.sync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            return error
        return None

    # all entries

    def is_listed(self, job: str, entry: os.DirEntry[str]) -> bool:
        """Tell whether an entry stands for the job that its name says, asking no more of the disk than it must."""
        try:
            if not (entry.is_dir() if self.directories else entry.is_file()):
                return False
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return False
        if self.nonempty and _is_empty(entry.path):
            return False
        if self.any_case and entry.name != job + self.extension:
            # Two spellings of one job are one key.
            found = self.find(job)
            return found is not None and found[0] == entry.path
        return True


class Listing(Generic[T]):
    """A listing of a folder's values, which begins with its first page.

    ``pick`` makes what is given for each value, from its job, valid or not, and its entry.
    """

    def __init__(self, folder: Folder, pick: Callable[[str, os.DirEntry[str]], T]) -> None:
        self._folder = folder
        self._pick = pick
        self._identity: tuple[int, int] | None = None
        self._items: Iterator[T] = iter(())
        self._exits = ExitStack()

    def page(self) -> list[T]:
        """Give the next items, as many as make a page; fewer are the last ones.

        :raises FolderGoneError: if the folder is not there and was before, or is not the one that it was at first.
        """
        if self._identity is None:
            self._begin()
        page = list(itertools.islice(self._items, PAGE))
        if len(page) < PAGE and self._identity is not None:
            # A folder that is deleted meanwhile reads as if it ended early.
            self._folder.require()
            if self._folder.identity() != self._identity:
                raise FolderGoneError(f"the folder {self._folder.path} was replaced while it was listed. Try again.")
        return page

    def close(self) -> None:
        """Let go of the folder. May be called again."""
        self._exits.close()

    def _begin(self) -> None:
        try:
            self._identity = self._folder.identity()
            self._items = self._picked(self._exits.enter_context(os.scandir(self._folder.path)))
        except FileNotFoundError:
            self._folder.check()

    def _picked(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[T]:
        for entry in entries:
            job = self._folder.job_of(entry.name)
            if job is None or not self._folder.is_listed(job, entry):
                continue
            try:
                yield self._pick(job, entry)
            except FileNotFoundError:
                continue  # deleted since the folder was read


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return True  # gone since it was seen
