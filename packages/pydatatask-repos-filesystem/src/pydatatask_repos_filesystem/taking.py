"""Values that a program made elsewhere on this machine: copied beside their place and published. Everything blocks."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from pydatatask_core.errors import ConfigurationError
from pydatatask_core.streams import CHUNK

from .draft import Draft
from .exchange import exchange
from .folder import Change, Folder
from .tree import Stage

__all__ = ["publish_copy"]


def publish_copy(folder: Folder, job: str, path: str, *, whole_folder: bool) -> Change:
    """Publish a copy of a file, or of a ``whole_folder``; the change tells whether anything stands there.

    A copy, because whatever is still running may go on to write into the original.

    :raises ConfigurationError: if it is not of that kind.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return Change(made=False)
    if not (stat.S_ISDIR(mode) if whole_folder else stat.S_ISREG(mode)):
        raise ConfigurationError(
            f"Cannot publish {path} as job {job!r}: it is no {'folder' if whole_folder else 'regular file'}, which is "
            f"what this repository holds. Mend the program that made it, or link another kind of repository."
        )
    return _publish_folder(folder, job, path) if whole_folder else _publish_file(folder, job, path)


def _publish_file(folder: Folder, job: str, path: str) -> Change:
    with Path(path).open("rb", buffering=0) as source:
        draft = Draft(folder, job)
        try:
            while data := source.read(CHUNK):
                draft.write([data])
        except BaseException:
            draft.discard()
            raise
        return draft.publish()


def _publish_folder(folder: Folder, job: str, path: str) -> Change:
    stage = Stage(folder, job, exchange)
    try:
        _copy_entries(path, Path(stage.path))
        return stage.publish()
    finally:
        if not stage.published:
            stage.discard()


def _copy_entries(source: str, target: Path) -> None:
    """Copy what is in a folder: files with their permissions, links as links. Times and owners are new."""
    with os.scandir(source) as entries:
        for entry in entries:
            copied = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                copied.mkdir()
                _copy_entries(entry.path, copied)
            else:
                shutil.copyfile(entry.path, copied, follow_symlinks=False)
            if not entry.is_symlink():
                copied.chmod(stat.S_IMODE(entry.stat().st_mode))
