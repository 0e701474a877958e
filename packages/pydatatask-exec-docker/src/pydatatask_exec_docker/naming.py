"""What containers are called, and what is written on them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping

from pydatatask_core.runs.site import RunName

__all__ = ["APP", "OWNER", "container_name", "is_staged", "labels", "run_of", "staging_name", "wanted"]

APP = "pydatatask.app"
TASK = "pydatatask.task"
JOB = "pydatatask.job"
ATTEMPT = "pydatatask.attempt"
OWNER = "pydatatask.owner"
"""The pipeline's fingerprint."""

STAGED = "pydatatask-new-"
"""How the names of containers begin that are not claims yet."""

LONGEST = 63
"""Characters of a name. Networks of an engine take it for a host name."""


def container_name(app: str, run: RunName) -> str:
    """Give the name of a run's container: what can be read of app, task and job, a hash of exactly these, the attempt.

    Two that differ in anything, capitals and signs included, have two names, but for a collision of 64 bits.
    """
    # The character between them is in neither names nor jobs.
    raw = "\0".join((app, run.task, run.job))
    digest = hashlib.blake2b(raw.encode(), digest_size=8).hexdigest()
    end = f"{digest}-{run.attempt}"
    readable = re.sub(r"[^a-z0-9]+", "-", raw.lower())[: LONGEST - 1 - len(end)].strip("-")
    return f"{readable}-{end}"


def staging_name() -> str:
    """Give a name for a container that is to be renamed when it is whole."""
    return f"{STAGED}{secrets.token_hex(8)}"


def is_staged(name: str) -> bool:
    """Tell whether a container is not a claim yet."""
    return name.startswith(STAGED)


def labels(app: str, run: RunName, owner: str) -> dict[str, str]:
    """Give the labels of a run's container."""
    return {APP: app, TASK: run.task, JOB: run.job, ATTEMPT: str(run.attempt), OWNER: owner}


def run_of(found: Mapping[str, str], name: str, app: str) -> RunName | None:
    """Read a container's labels; None if it is no claim of the app's."""
    task, job, attempt = (found.get(label) for label in (TASK, JOB, ATTEMPT))
    if found.get(APP) != app or not task or not job or attempt is None or not attempt.isdigit():
        return None
    run = RunName(task, job, int(attempt))
    return run if name == container_name(app, run) else None


def wanted(app: str, task: str | None = None, job: str | None = None) -> list[str]:
    """Give what selects the containers of an app, of a task, or of a job."""
    chosen = {APP: app, TASK: task, JOB: job}
    return [f"{label}={value}" for label, value in chosen.items() if value is not None]
