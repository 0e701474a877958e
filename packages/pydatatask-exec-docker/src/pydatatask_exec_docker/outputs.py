"""Private folders of this machine in which scripts leave files, until these are published."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from pydatatask_core.errors import ConfigurationError, SiteUnavailableError

__all__ = ["Outputs"]

_log = logging.getLogger("pydatatask.exec.docker")

OLD = 24 * 3600.0
"""Seconds after which a folder without a container is nobody's."""


class Outputs:
    """The folders of an app, one per container, in a folder that is ours alone."""

    INSIDE: ClassVar = "/pydatatask/out"
    """Where a container sees its folder."""

    def __init__(self, base: str | os.PathLike[str], app: str) -> None:
        self._base = Path(base).absolute()
        self._path = self._base / app

    def path(self, container: str, name: str) -> str:
        """Give the path of an output here, by the container's name and the link's."""
        return str(self._path / container / name)

    async def prepare(self, container: str, outputs: Mapping[str, bool]) -> str:
        """Make the folder of a container, and folders in it for the outputs that are folders; give its path.

        :raises ConfigurationError: if somebody else has the place.
        """
        try:
            return await asyncio.to_thread(self._prepare, container, outputs)
        except OSError as error:
            raise SiteUnavailableError(f"Cannot make a folder for outputs in {self._path}: {error}.") from error

    def _prepare(self, container: str, outputs: Mapping[str, bool]) -> str:
        for folder in (self._base, self._path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o77:
                raise ConfigurationError(
                    f"{folder} cannot hold outputs: it is no folder that is ours alone. Give the manager another "
                    f"local_path."
                )
        made = self._path / container
        for folder in (made, *(made / name for name, is_folder in outputs.items() if is_folder)):
            folder.mkdir(exist_ok=True)
            # Whoever the image makes the user; nobody else gets as far as here.
            folder.chmod(0o777)
        return str(made)

    async def remove(self, container: str) -> None:
        """Delete the folder of a container, if it has one. What cannot be deleted is told in the log."""
        await asyncio.to_thread(_delete, self._path / container)

    async def sweep(self, containers: Collection[str]) -> None:
        """Delete old folders whose containers are gone."""
        await asyncio.to_thread(self._sweep, containers)

    def _sweep(self, containers: Collection[str]) -> None:
        if not self._path.is_dir():
            return
        for folder in list(self._path.iterdir()):
            if folder.name not in containers and time.time() - folder.lstat().st_mtime > OLD:
                _delete(folder)


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning(
            "%s cannot be deleted: %s. A container's files belong to its user; see the option user of its task.",
            folder,
            error,
        )
