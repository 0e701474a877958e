"""Files as values."""

from __future__ import annotations

import os

from pydatatask_core.job import check_job
from pydatatask_core.repository.protocols import PathRepository, StreamRepository
from pydatatask_core.streams import BlobReader, BlobWriter
from typing_extensions import override

from .base import FolderRepository
from .draft import delete_file
from .streams import FileReader, FileWriter
from .taking import publish_copy

__all__ = ["FileRepository"]


class FileRepository(FolderRepository, PathRepository, StreamRepository):
    """Each job is a file in the folder ``basedir``, named by the job id and ``extension``.

    A value is written to a hidden file beside its place and renamed, so that no reader ever sees a part of it, and a
    process killed on the way leaves the old value or the new one. ``durable=True`` also waits until file and folder
    are on disk, so that what was published survives a loss of power.

    Only regular files and symbolic links to them are jobs. Writing to a job that is a symbolic link replaces the link.
    For ``case_insensitive`` and for what a missing folder means, see :class:`FolderRepository`.

    :raises ConfigurationError: if the extension cannot be part of a file name.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        extension: str = "",
        case_insensitive: bool = False,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(
            basedir, extension, directories=False, any_case=case_insensitive, nonempty=False, durable=durable
        )

    @override
    async def reader(self, job: str, /) -> BlobReader:
        reader = FileReader(self._folder, check_job(job), self._errands)
        await reader.begin()
        return reader

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        """Begin a new value. Nothing is touched before a chunk is full or the writer is closed."""
        return FileWriter(self._folder, check_job(job), self._errands)

    @property
    @override
    def holds_folders(self) -> bool:
        return False

    @override
    async def publish(self, job: str, path: str, /) -> bool:
        check_job(job)
        return await self._errands.create(
            job, lambda: publish_copy(self._folder, job, path, whole_folder=False), long=True
        )

    @override
    async def delete(self, job: str, /) -> None:
        check_job(job)
        await self._errands.delete(job, lambda: delete_file(self._folder, job))
