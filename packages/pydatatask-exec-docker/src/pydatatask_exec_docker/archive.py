"""Tar archives as the engine takes them, made while they are sent."""

from __future__ import annotations

import tarfile
import time
from collections.abc import AsyncIterator

from pydatatask_core.streams import BlobReader

from .spec import FOLDER, MARK, SCRIPT

__all__ = ["files_of", "mark_of"]

PIECE = 4 * 1024 * 1024
"""Bytes of standard input in one file. A tar archive says how long a file is before it begins, and nobody knows how
much there will be; so it is many files."""

_FOLDER = FOLDER.lstrip("/")
_END = bytes(2 * tarfile.BLOCKSIZE)


async def files_of(script: bytes | None, stdin: BlobReader | None) -> AsyncIterator[bytes]:
    """Give an archive of what is put into a container before it begins, in bounded memory."""
    # Whoever runs the script makes files in it.
    yield _folder(_FOLDER, 0o1777)
    if script is not None:
        yield _file(SCRIPT, script, 0o755)
    if stdin is not None:
        yield _folder(f"{_FOLDER}/stdin")
        number = 0
        while (piece := await _piece(stdin)) or not number:
            yield _file(f"{FOLDER}/stdin/{number:012}", piece, 0o644)
            number += 1
    yield _END


async def mark_of(word: str) -> AsyncIterator[bytes]:
    """Give an archive that says why a container is ended."""
    yield _folder(_FOLDER, 0o1777)
    yield _file(MARK, word.encode(), 0o644)
    yield _END


async def _piece(source: BlobReader) -> bytes:
    parts: list[bytes] = []
    left = PIECE
    while left and (part := await source.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _file(path: str, content: bytes, mode: int) -> bytes:
    info = _entry(path.lstrip("/"), mode)
    info.size = len(content)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + padding


def _folder(path: str, mode: int = 0o755) -> bytes:
    info = _entry(path, mode)
    info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.USTAR_FORMAT)


def _entry(path: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode = mode
    info.mtime = int(time.time())
    return info
