"""What pods are called, and what is written on them."""

from __future__ import annotations

import hashlib
import re

from pydatatask_core.runs.site import RunName

__all__ = ["APP", "ATTEMPT", "END", "JOB", "OWNER", "TASK", "WHY", "labels", "pod_name", "run_of", "selector"]

APP = "pydatatask/app"
TASK = "pydatatask/task"
JOB = "pydatatask/job"
ATTEMPT = "pydatatask/attempt"
"""Labels. Names and jobs are valid values as they stand."""

OWNER = "pydatatask/owner"
END = "pydatatask/end"
WHY = "pydatatask/why"
"""Annotations: the pipeline's fingerprint; why we end the pod, in one word of ours; and in words for people."""

LONGEST = 63
"""Characters: a pod's name is the host name in it."""


def pod_name(app: str, run: RunName) -> str:
    """Give the name of a run's pod: what can be read of app, task and job, a hash of exactly these, and the attempt.

    Two that differ in anything, capitals and signs included, have two names, but for a collision of 64 bits.
    """
    # The character between them is in neither names nor jobs.
    raw = "\0".join((app, run.task, run.job))
    digest = hashlib.blake2b(raw.encode(), digest_size=8).hexdigest()
    end = f"{digest}-{run.attempt}"
    readable = re.sub(r"[^a-z0-9]+", "-", raw.lower())[: LONGEST - 1 - len(end)].strip("-")
    return f"{readable}-{end}"


def labels(app: str, run: RunName) -> dict[str, str]:
    """Give the labels of a run's pod."""
    return {APP: app, TASK: run.task, JOB: run.job, ATTEMPT: str(run.attempt)}


def run_of(found: dict[str, str], app: str) -> RunName | None:
    """Read a pod's labels; None if they are not an app's."""
    task, job, attempt = (found.get(label) for label in (TASK, JOB, ATTEMPT))
    if found.get(APP) != app or not task or not job or attempt is None or not attempt.isdigit():
        return None
    return RunName(task, job, int(attempt))


def selector(app: str, task: str | None = None, job: str | None = None) -> str:
    """Give what selects the pods of an app, of a task, or of a job."""
    wanted = {APP: app, TASK: task, JOB: job}
    return ",".join(f"{label}={value}" for label, value in wanted.items() if value is not None)
