"""Runs are made aside on the host, over SFTP, and renamed into place."""

from __future__ import annotations

import asyncio
import posixpath
import re
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

SMALL = 1 << 13
"""Bytes of a file that the shell reads, one after the other."""

_PLAIN = re.compile(r"[A-Za-z0-9._@/-]+")
_SPECIAL = re.compile(rb"[^A-Za-z0-9_./@:=-]")

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
                    if not await self._made_at_once(name, files):
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

    async def _made_at_once(self, name: str, files: HostFiles) -> bool:
        """Have the shell make the files, if they are small: one question for all of them, instead of three for each.

        :returns: False if nothing was made. The other way then tells why, if there is a reason.
        """
        contents = {path: file.content for path, file in files.items() if file is not None}
        if not all(_PLAIN.fullmatch(path) for path in files) or not all(map(_is_small, contents.values())):
            return False
        lines = [
            f"{'program' if file.executable else 'file'} {path} {_escaped(file.content)}"
            for path, file in files.items()
            if file is not None and isinstance(file.content, bytes)
        ]
        folders = [folder for level in _levels(files) for folder in level]
        told = await self._host.launcher.ask("stage", name, str(len(lines)), *folders, more=lines)
        if told != ["done"]:
            await self._discard(name)
            return False
        return True

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


def _is_small(content: bytes | BlobReader) -> bool:
    return isinstance(content, bytes) and len(content) <= SMALL


def _escaped(content: bytes) -> str:
    """Write bytes as ``printf %b`` reads them."""
    return _SPECIAL.sub(lambda found: b"\\0%03o" % found[0][0], content).decode("ascii")


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
