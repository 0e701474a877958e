"""Directories as values."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydatatask_core.job import check_job
from pydatatask_core.repository.protocols import PathRepository
from typing_extensions import override

from .base import FolderRepository
from .exchange import exchange
from .taking import publish_copy
from .tree import Stage, delete_tree, make_directory

__all__ = ["DirectoryRepository"]


class DirectoryRepository(FolderRepository, PathRepository):
    """Each job is a directory in the folder ``basedir``, named by the job id and ``extension``.

    :meth:`stage` publishes a directory whole. A directory leaves by a rename too, before it is deleted.

    Only directories and symbolic links to them are jobs; what a link points to is never deleted. With
    ``discard_empty``, an empty directory is no job, and since no watch tells when one is filled, the folder is polled.
    ``durable=True`` waits until all of a published directory is on disk, so that it survives a loss of power. For
    ``case_insensitive`` and for what a missing folder means, see :class:`FolderRepository`.

    :raises ConfigurationError: if the extension cannot be part of a file name.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        extension: str = "",
        case_insensitive: bool = False,
        discard_empty: bool = False,
        *,
        durable: bool = False,
    ) -> None:
        super().__init__(
            basedir, extension, directories=True, any_case=case_insensitive, nonempty=discard_empty, durable=durable
        )

    @property
    def discard_empty(self) -> bool:
        """Whether an empty directory is no job."""
        return self._folder.nonempty

    @asynccontextmanager
    async def stage(self, job: str) -> AsyncIterator[Path]:
        """Give a private empty directory that becomes the job's value when the block ends.

        It stands beside its place under a hidden name and is published by one rename, or by an exchange with the
        directory that is there, where kernel and file system can. Elsewhere a directory is replaced by two renames:
        between them the job is absent, and if the process is killed there, :meth:`validate` brings the old one back.
        Readers that are inside the old directory while it is replaced find their files deleted.

        A block left by an exception, cancellation included, discards the directory; any earlier value stays. After a
        failure nothing was published, after a cancellation the whole directory or nothing.

        :raises ConflictError: if a file that is no job stands in the way.
        :raises StoreFullError: if the store has no room.
        :raises StoreUnavailableError: if it fails otherwise.
        """
        check_job(job)
        stages: list[Stage] = []
        try:
            await self._errands.ask("write", job, lambda: stages.append(Stage(self._folder, job, exchange)), long=True)
            yield Path(stages[0].path)
            await self._errands.publish(job, stages[0].publish, long=True)
        finally:
            if stages and not stages[0].published:
                await self._errands.ask("discard", job, stages[0].discard, long=True)

    async def mkdir(self, job: str) -> None:
        """Make the job's directory, empty and at once visible, if it is not there.

        It gives direct access to :meth:`fullpath`, for those who fill it step by step, and promises no more than that.
        :meth:`stage` publishes a directory whole.

        :raises ConflictError: if a file that is no job stands in the way.
        """
        check_job(job)
        await self._errands.publish(job, lambda: make_directory(self._folder, job))

    @property
    @override
    def holds_folders(self) -> bool:
        return True

    @override
    async def publish(self, job: str, path: str, /) -> bool:
        check_job(job)
        return await self._errands.create(
            job, lambda: publish_copy(self._folder, job, path, whole_folder=True), long=True
        )

    @override
    async def delete(self, job: str, /) -> None:
        check_job(job)
        await self._errands.delete(job, lambda: delete_tree(self._folder, job), long=True)
