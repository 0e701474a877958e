"""What repositories of files and of directories have in common."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

from pydatatask_core.job import check_job
from pydatatask_core.repository.changes import ChangeSource, KeyEvent
from pydatatask_core.repository.protocols import PAGE, Repository, ValidKeys
from typing_extensions import override

from .errands import Errands
from .folder import Folder, Listing
from .sweep import prepare
from .watch import watching

__all__ = ["FolderRepository"]

T = TypeVar("T")


class FolderRepository(Repository):
    """Jobs as the names of a folder's entries.

    Entries whose names are hidden, lack the extension or are no job ids are no jobs, and neither are entries of
    another kind; symbolic links count as what they point to. The folder, ``basedir``, is made by :meth:`validate`,
    which opening a pipeline calls, and by nothing else. A folder that this object never saw reads as empty. One that
    it saw and that is gone raises :class:`StoreUnavailableError`.

    ``case_insensitive`` takes the extension in any mixture of cases: ``.TXT`` for ``.txt``. Job ids keep their case,
    because all else in a pipeline compares them exactly. A job with several spellings is one job: the spelling as
    given wins, deleting deletes all of them, and a new value takes the place of the one that is there.
    """

    def __init__(
        self,
        basedir: str | os.PathLike[str],
        extension: str,
        *,
        directories: bool,
        any_case: bool,
        nonempty: bool,
        durable: bool,
    ) -> None:
        self.basedir = Path(basedir).absolute()
        """The folder, as an absolute path; symbolic links in it are kept."""
        self._folder = Folder(
            str(self.basedir),
            extension,
            directories=directories,
            any_case=any_case,
            nonempty=nonempty,
            durable=durable,
        )
        self._errands = Errands(self._folder, self)

    @property
    def extension(self) -> str:
        """What follows the job id in a file name."""
        return self._folder.extension

    @property
    def case_insensitive(self) -> bool:
        """Whether the extension counts in any mixture of cases."""
        return self._folder.any_case

    @property
    def durable(self) -> bool:
        """Whether what was published survives a loss of power."""
        return self._folder.sync is not None

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.basedir / ('*' + self.extension)}>"

    def fullpath(self, job: str) -> Path:
        """Give the path that belongs to the job, whether or not it is there.

        It gives direct access: what is written to it by hand is not published at once.
        """
        return Path(self._folder.path_of(check_job(job)))

    @override
    async def info(self, job: str, /) -> str:
        """Give :meth:`fullpath` as a string."""
        return self._folder.path_of(check_job(job))

    @override
    async def info_all(self) -> dict[str, str]:
        return {job: self._folder.path_of(job) async for page in self.pages() for job in page}

    @override
    async def contains(self, job: str, /) -> bool:
        check_job(job)
        return await self._errands.ask("look for", job, lambda: self._folder.find(job)) is not None

    @override
    async def validate(self) -> None:
        """Make the folder if it is not there, and mend what killed processes left in it.

        A directory that was lost between two renames is brought back. Leftovers are deleted if their names are ours,
        they were last changed a day ago, and no living process holds them.

        :raises ConfigurationError: if something that is no folder stands in its place.
        """
        for name in await self._errands.ask("prepare", None, lambda: prepare(self._folder), long=True):
            if job := self._folder.job_of(name):
                self.changes.added(job)

    # listing

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        async for page in self._listed(lambda job, _: job):
            for job in page:
                yield job

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        keys = ValidKeys(self)
        async for page in self._listed(lambda job, _: job):
            yield keys.valid(page)
        keys.report()

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of jobs, each with modification time, inode and size of what stands at its name."""
        keys = ValidKeys(self)

        def version(job: str, entry: os.DirEntry[str]) -> tuple[str, str]:
            status = entry.stat()
            return job, f"{status.st_mtime_ns}-{status.st_ino}-{status.st_size}"

        async for page in self._listed(version):
            versions = dict(page)
            yield [(job, versions[job]) for job in keys.valid(versions)]
        keys.report()

    async def _listed(self, pick: Callable[[str, os.DirEntry[str]], T]) -> AsyncIterator[list[T]]:
        """Give what ``pick`` makes of each entry, a page in one trip."""
        listing = Listing(self._folder, pick)
        try:
            while True:
                page = await self._errands.ask("list", None, listing.page, long=True)
                yield page
                if len(page) < PAGE:
                    return
        finally:
            listing.close()

    # changes

    @property
    @override
    def location(self) -> str:
        """The folder with its symbolic links followed, the extension, and what else decides which entries are jobs."""
        return self._folder.location

    @property
    @override
    def change_source(self) -> ChangeSource:
        """Watched on file systems of this machine alone; polled on network, FUSE and unknown ones."""
        return ChangeSource.WATCHED if self._folder.is_watchable else ChangeSource.POLLED

    @override
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        """Tell of changes as they happen; see :meth:`Repository.watch`.

        A file that somebody else writes in place counts as added when it is closed.

        :raises StoreUnavailableError: on entering, if the folder is not there or the system gives no watch.
        """
        if not self._folder.is_watchable:
            return super().watch()
        return watching(self._folder, self.changes, self)
