"""What runs are called at sites that know things by names and labels, as engines and clusters do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from attrs import frozen

from .site import RunName

__all__ = ["RunLabels", "dns_name"]

LONGEST = 63
"""Characters of a name that may become a host's. RFC 1035, section 2.3.4."""


def dns_name(app: str, run: RunName) -> str:
    """Give a run a name that may be a host's: what can be read of app, task and job, a hash of these, the attempt.

    Two that differ in anything, capitals and signs included, have two names, but for a collision of 64 bits.
    """
    # The character between them is in neither names nor jobs.
    raw = "\0".join((app, run.task, run.job))
    digest = hashlib.blake2b(raw.encode(), digest_size=8).hexdigest()
    end = f"{digest}-{run.attempt}"
    readable = re.sub(r"[^a-z0-9]+", "-", raw.lower())[: LONGEST - 1 - len(end)].strip("-")
    return f"{readable}-{end}"


@frozen
class RunLabels:
    """Labels that say of which run something is. Their values are names and jobs as they stand."""

    prefix: str
    """How they all begin."""

    @property
    def app(self) -> str:
        """The label that holds the app's name."""
        return f"{self.prefix}app"

    def of(self, app: str, run: RunName) -> dict[str, str]:
        """Give the labels of a run."""
        told = {"task": run.task, "job": run.job, "attempt": str(run.attempt)}
        return {self.app: app, **{f"{self.prefix}{name}": value for name, value in told.items()}}

    def run(self, found: Mapping[str, str], name: str, app: str) -> RunName | None:
        """Read the labels of what has a name; None if it is no claim of the app's."""
        task, job, attempt = (found.get(f"{self.prefix}{label}") for label in ("task", "job", "attempt"))
        if found.get(self.app) != app or not task or not job or attempt is None or not attempt.isdigit():
            return None
        run = RunName(task, job, int(attempt))
        # Labels may be copied; a name claims.
        return run if name == dns_name(app, run) else None

    def wanted(self, app: str, task: str | None = None, job: str | None = None) -> list[str]:
        """Give what selects all that is of an app, of a task, or of a job: ``label=value``, all of them to be true."""
        chosen = {"app": app, "task": task, "job": job}
        return [f"{self.prefix}{label}={value}" for label, value in chosen.items() if value is not None]
