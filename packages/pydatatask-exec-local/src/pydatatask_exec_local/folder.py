"""The folder that holds the runs of an app, by plain blocking calls. They are made in worker threads."""

# ruff: noqa: PTH103  # paths of staged files are strings: a Path costs as much as the system call it is made for

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydatatask_core.errors import ConfigurationError, SiteFullError, SiteUnavailableError

__all__ = ["Folder"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}
_STANDS = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class Folder:
    """The folder of one app, inside a base folder that is ours alone."""

    def __init__(self, base: str, app: str) -> None:
        self.base = Path(base).absolute()
        self.path = self.base / app

    def prepare(self) -> None:
        """Make the folder, if it is not there, and see that nobody else can touch it.

        :raises ConfigurationError: if it belongs to somebody else.
        """
        with _explained("make the folder of runs", self.path):
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(self.base)
            self.path.mkdir(mode=0o700, exist_ok=True)
            _check_owner(self.path)
            for name in (".new", ".old"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def stage(self) -> Path:
        """Make a private folder that :meth:`settle` renames into place."""
        staged = self.path / ".new" / secrets.token_hex(8)
        with _explained("make a run in", self.path):
            try:
                staged.mkdir(mode=0o700)
            except FileNotFoundError:
                # Somebody took the whole folder away.
                self.prepare()
                staged.mkdir(mode=0o700)
        return staged

    def fill(self, staged: Path, files: Mapping[str, tuple[bytes | None, bool]]) -> None:
        """Make files in a staged folder, by relative path: content, and whether it is to be executable.

        None is an empty folder. Folders that files are in come to be on the way.
        """
        root = str(staged)
        made = {root}
        with _explained("write into", staged):
            for name, (content, executable) in files.items():
                path = f"{root}/{name}"
                folder = path if content is None else path.rpartition("/")[0]
                if folder not in made:
                    os.makedirs(folder, mode=0o700, exist_ok=True)
                    made.add(folder)
                if content is not None:
                    _write(path, content, 0o700 if executable else 0o600)

    def append(self, path: Path, content: bytes) -> None:
        """Write more to a file, which is made if it is not there."""
        with _explained("write", path), open(path, "ab", opener=_private) as file:
            file.write(content)

    def settle(self, staged: Path, name: str) -> bool:
        """Rename a staged folder into place, unless something stands there.

        :raises FileNotFoundError: if there is no folder for it to be in.
        """
        try:
            staged.rename(self.path / name)
        except FileNotFoundError:
            if not staged.exists():
                raise SiteUnavailableError(f"{staged} was taken away while a run was made in it.") from None
            raise
        except OSError as error:
            if error.errno in _STANDS:
                return False
            raise _explain("rename", staged, error) from error
        return True

    def discard(self, staged: Path) -> None:
        """Delete a staged folder, if it is there: whole, though a thread that nobody waits for may be settling it."""
        self._take_away(staged)

    def remove(self, name: str) -> None:
        """Rename a claim away and delete it."""
        self._take_away(self.path / name)

    def _take_away(self, path: Path) -> None:
        aside = self.path / ".old" / secrets.token_hex(8)
        with _explained("delete", path):
            try:
                path.rename(aside)
            except FileNotFoundError:
                return
            _delete(aside)

    def sweep(self) -> None:
        """Delete what interrupted stagings and removals have left.

        What somebody is just staging is renamed away first, so he fails as a whole and tries again.
        """
        with _explained("sweep", self.path):
            for staged in [*_entries(self.path / ".new")]:
                try:
                    staged.rename(self.path / ".old" / staged.name)
                except FileNotFoundError:
                    continue
            for left in [*_entries(self.path / ".old")]:
                _delete(left)


def _entries(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except FileNotFoundError:
        return []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(path: str, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _check_owner(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} cannot hold runs: it is no folder of ours (owner {found.st_uid}, we are {os.geteuid()}). "
            f"Give the manager another local_path."
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)


def _delete(path: Path) -> None:
    for tries in range(3, 0, -1):
        try:
            return shutil.rmtree(path, onerror=_insist)
        except OSError as error:
            # A supervisor that came late may just have tried to begin in it.
            if error.errno != errno.ENOTEMPTY or tries == 1:
                raise
    return None


def _insist(function: Any, path: str, info: Any) -> None:
    """A job may have left folders that even their owner may not change."""
    error = info[1]
    if isinstance(error, FileNotFoundError):
        return
    if not isinstance(error, PermissionError):
        raise error
    Path(path).parent.chmod(0o700)
    if Path(path).is_dir() and not Path(path).is_symlink():
        Path(path).chmod(0o700)
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


@contextmanager
def _explained(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explain(doing, path, error) from error


def _explain(doing: str, path: Path, error: OSError) -> SiteUnavailableError:
    kind = SiteFullError if error.errno in _FULL else SiteUnavailableError
    return kind(f"Cannot {doing} {path}: {error.strerror}.")
