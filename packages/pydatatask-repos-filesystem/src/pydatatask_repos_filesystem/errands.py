"""What a repository sends worker threads to do: with errors translated, and changes announced."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.protocols import Repository

from ._errors import translated
from .folder import Change, Folder
from .trips import alone, shared

__all__ = ["Errands"]

T = TypeVar("T")


class Errands:
    """Does work on one repository's folder in worker threads.

    Work that was begun is ended, whatever becomes of the task that awaits it, and what it changed is announced.
    """

    def __init__(self, folder: Folder, repo: Repository) -> None:
        self._folder = folder
        self._repo = repo

    async def ask(
        self,
        doing: str,
        job: str | None,
        work: Callable[[], T],
        after: Callable[[T], None] | None = None,
        *,
        long: bool = False,
    ) -> T:
        """Do ``work``, which may take ``long``, and then, if it succeeded, ``after`` on the event loop.

        ``doing`` is a verb; it names the work in errors.
        """
        # Waiting for a network, or for a disk to have written, is best done by many threads at the same time.
        travel = alone if long or not self._folder.is_quick else shared
        try:
            return await travel(work, after)
        except OSError as error:
            raise translated(error, doing, job, self._repo) from error

    async def publish(self, job: str, work: Callable[[], Change], *, long: bool = False) -> None:
        """Do work that publishes a job's value, and announce it."""

        def announce(change: Change) -> None:
            if change.made:
                self._repo.changes.added(job)
            else:
                self._repo.changes.removed(job)

        self._told(await self.ask("write", job, work, announce, long=long), "written", job)

    async def create(self, job: str, work: Callable[[], Change], *, long: bool = False) -> bool:
        """Do work that publishes a job's value if there is none, announce it if so, and tell."""

        def announce(change: Change) -> None:
            if change.made:
                self._repo.changes.added(job)

        change = await self.ask("write", job, work, announce, long=long)
        self._told(change, "written", job)
        return change.made

    async def delete(self, job: str, work: Callable[[], Change], *, long: bool = False) -> None:
        """Do work that deletes a job, and announce it."""

        def announce(change: Change) -> None:
            if change.made:
                self._repo.changes.removed(job)

        self._told(await self.ask("delete", job, work, announce, long=long), "deleted", job)

    def _told(self, change: Change, done: str, job: str) -> None:
        if change.unsynced is not None:
            raise StoreUnavailableError(
                f"Job {job!r} in {self._repo!r} was {done}, as all can see, but that may not survive a loss of power: "
                f"{change.unsynced}. Check the file system."
            ) from change.unsynced
