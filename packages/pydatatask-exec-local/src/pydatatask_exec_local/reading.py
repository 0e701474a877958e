"""Reading a file of this machine without blocking the event loop."""

from __future__ import annotations

import asyncio
from io import BufferedReader
from pathlib import Path
from typing import Self

from pydatatask_core.errors import MissingJobError, SiteUnavailableError
from pydatatask_core.streams import BlobReader
from typing_extensions import override

__all__ = ["FileReader"]


class FileReader(BlobReader):
    """A file that is open for reading."""

    def __init__(self, file: BufferedReader, path: Path) -> None:
        self._file = file
        self._path = path

    @classmethod
    async def begin(cls, path: Path, offset: int) -> Self:
        """Open a file from a byte on.

        :raises MissingJobError: if it does not exist.
        """

        def opened() -> BufferedReader:
            file = path.open("rb")
            file.seek(offset)
            return file

        try:
            return cls(await asyncio.to_thread(opened), path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingJobError(f"There is no {path}.") from error
        except OSError as error:
            raise SiteUnavailableError(f"Cannot read {path}: {error.strerror}.") from error

    @override
    async def read(self, n: int = -1, /) -> bytes:
        try:
            return await asyncio.to_thread(self._file.read, n)
        except OSError as error:
            raise SiteUnavailableError(f"Cannot read {self._path}: {error.strerror}.") from error

    @override
    async def close(self) -> None:
        self._file.close()
