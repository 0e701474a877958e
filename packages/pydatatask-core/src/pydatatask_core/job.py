"""What a valid job id is: one rule, legal as it stands on every backend, so that ids are never escaped."""

from __future__ import annotations

import re
from collections.abc import Collection

from .errors import JobIdError

__all__ = ["are_valid_job_ids", "check_job", "is_valid_job_id", "is_valid_name"]

_RULE = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_JOB = re.compile(_RULE)
_JOBS = re.compile(rf"(?:{_RULE}\n)*")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def is_valid_job_id(job: str) -> bool:
    """Tell whether a string may name a job: 1 to 63 letters, digits, ``.``, ``_``, ``-``, both ends alphanumeric."""
    return _JOB.fullmatch(job) is not None


def are_valid_job_ids(keys: Collection[str]) -> bool:
    """Tell whether each of these strings may name a job. For a page of keys this takes a third of asking one by one."""
    lines = "".join([f"{key}\n" for key in keys])
    # A key with a line break in it would be taken for two.
    return _JOBS.fullmatch(lines) is not None and lines.count("\n") == len(keys)


def is_valid_name(name: str) -> bool:
    """Tell whether a string may name a task or an app: like a job id, without dots."""
    return _NAME.fullmatch(name) is not None


def check_job(job: object) -> str:
    """Give the job id back if it is valid.

    :raises JobIdError: if it is not.
    """
    if not isinstance(job, str) or _JOB.fullmatch(job) is None:
        raise JobIdError(
            f"{job!r} is no valid job id. Use 1 to 63 letters, digits, '.', '_' and '-', "
            "with a letter or digit at both ends."
        )
    return job
