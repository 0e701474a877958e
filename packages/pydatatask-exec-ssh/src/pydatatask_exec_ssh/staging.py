"""Runs are made aside on the host, over SFTP, and renamed into place."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from collections.abc import Iterable

import asyncssh
from pydatatask_core.errors import SiteFullError, SiteUnavailableError
from pydatatask_core.runs.host import HostFile, HostFiles
from pydatatask_core.streams import CHUNK, BlobReader

from ._errors import explain, explained
from .host import Host

__all__ = ["Staging"]

ROOM = 1 << 20
"""Bytes. A file system with less than that is taken to be full when a write has failed: SFTP does not tell why."""

_NEW = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
_FOLDER = asyncssh.SFTPAttrs(permissions=0o700)


class Staging:
    """Makes folders with files on one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.names: set[str] = set()
        """What is being staged now."""

    async def claim(self, path: str, files: HostFiles) -> bool:
        """Make a folder with files, whole, unless something stands there; see :meth:`ProcessManager.claim`."""
        name = secrets.token_hex(8)
        staged = f"{self._host.basedir}/.new/{name}"
        self.names.add(name)
        made: bool | None = False
        try:
            with explained(f"make {path}", self._host.name):
                try:
                    await self._fill(staged, files)
                    made = await self._settle(staged, f"{self._host.basedir}/{path}")
                except asyncssh.SFTPError as error:
                    raise await self._understood(f"make {path}", error) from error
            if made is None:
                raise FileNotFoundError(f"There is no {posixpath.dirname(path)} in {self._host.basedir}.")
            return made
        finally:
            self.names.discard(name)
            if not made:
                await asyncio.shield(self._discard(name))

    async def _fill(self, staged: str, files: HostFiles) -> None:
        sftp = self._host.files
        try:
            await sftp.mkdir(staged, _FOLDER)
        except asyncssh.SFTPNoSuchFile:
            # Somebody took the whole folder away.
            await self._host.prepare()
            await sftp.mkdir(staged, _FOLDER)
        for level in _levels(files):
            await asyncio.gather(*(sftp.mkdir(f"{staged}/{folder}", _FOLDER) for folder in level))
        await asyncio.gather(*(self._write(f"{staged}/{name}", file) for name, file in files.items() if file))

    async def _write(self, path: str, file: HostFile) -> None:
        mode = asyncssh.SFTPAttrs(permissions=0o700 if file.executable else 0o600)
        async with await self._host.files.open(path, _NEW, mode, encoding=None) as target:
            if isinstance(file.content, bytes):
                await target.write(file.content)
                return
            await self._stream(file.content, target)

    async def _stream(self, source: BlobReader, target: asyncssh.SFTPClientFile) -> None:
        async with source:
            while data := await source.read(4 * CHUNK):
                await target.write(data)

    async def _settle(self, staged: str, target: str) -> bool | None:
        """Rename into place; False if something stands there, None if there is no folder for it to be in."""
        sftp = self._host.files
        try:
            await sftp.posix_rename(staged, target)
        except asyncssh.SFTPNoSuchFile:
            if not await sftp.lexists(staged):
                raise SiteUnavailableError(
                    f"{staged} on {self._host.name} was taken away while a run was made in it."
                ) from None
            return None
        except asyncssh.SFTPError:
            # This version of the protocol does not tell why.
            if await sftp.lexists(target):
                return False
            raise
        return True

    async def _understood(self, doing: str, error: asyncssh.SFTPError) -> SiteUnavailableError:
        """Find out whether there was no room, which a failure alone does not say."""
        try:
            room = await self._host.files.statvfs(self._host.basedir)
        except asyncssh.Error:
            return explain(doing, self._host.name, error)
        if room.bavail * room.frsize < ROOM or (room.files and not room.favail):
            return SiteFullError(
                f"Cannot {doing} on {self._host.name}: there is no room in {self._host.basedir}. Make some, or give "
                f"the manager another remote_path."
            )
        return explain(doing, self._host.name, error)

    async def _discard(self, name: str) -> None:
        try:
            await self._host.launcher.ask("remove", f".new/{name}", name)
        except SiteUnavailableError:
            # Whoever watches next sweeps it.
            return


def _levels(files: HostFiles) -> Iterable[list[str]]:
    """Give the folders to be made, those first that others are in."""
    folders: set[str] = set()
    for name, file in files.items():
        folder = name if file is None else posixpath.dirname(name)
        while folder:
            folders.add(folder)
            folder = posixpath.dirname(folder)
    depths = {folder.count("/") for folder in folders}
    return [[folder for folder in sorted(folders) if folder.count("/") == depth] for depth in sorted(depths)]
