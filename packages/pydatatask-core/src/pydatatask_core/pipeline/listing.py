"""A listing of a store while the store changes: what is found may be older than what was announced meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Listing"]


class Listing:
    """What became known while a store was being listed."""

    def __init__(self, checks: bool) -> None:
        self.checks = checks
        """Whether keys were known before, which may have gone unnoticed."""
        self.seen: set[str] = set()
        self.doubtful: set[str] = set()
        """Jobs that were found after they were announced to be gone. What was found may be older."""
        self._gone: set[str] = set()

    def added(self, job: str) -> None:
        """A job was announced to be there."""
        self._gone.discard(job)
        self.doubtful.discard(job)
        if self.checks:
            self.seen.add(job)

    def removed(self, job: str) -> None:
        """A job was announced to be gone."""
        self._gone.add(job)
        self.doubtful.discard(job)
        self.seen.discard(job)

    def find(self, jobs: Iterable[str]) -> Iterable[str]:
        """Note what a listing found, and give what is beyond doubt."""
        if self._gone:
            jobs = list(jobs)
            self.doubtful.update(self._gone.intersection(jobs))
            jobs = [job for job in jobs if job not in self._gone]
        if self.checks:
            jobs = list(jobs)
            self.seen.update(jobs)
        return jobs
