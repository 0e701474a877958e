"""The one door where errors of the operating system become errors of this project, cause kept."""

from __future__ import annotations

import errno

from pydatatask_core.errors import (
    ConflictError,
    MissingJobError,
    PydatataskError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)

__all__ = ["FolderGoneError", "InTheWayError", "translated"]

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_REFUSED = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))


class FolderGoneError(OSError):
    """The folder itself is not there, or is not the one it was."""


class InTheWayError(OSError):
    """Something that is no value stands where one was to be published."""


def translated(error: OSError, doing: str, job: str | None, repo: object) -> PydatataskError:
    """Give the error to raise from ``error``, which happened while ``doing`` something to a job or to the repository.

    ``doing`` is a verb. Only ``"read"`` takes a file that is not there for a missing job.
    """
    what = f"Cannot {doing} {repo!r}" if job is None else f"Cannot {doing} job {job!r} in {repo!r}"
    reason = f"{what}: {_said(error)}."
    if isinstance(error, FolderGoneError):
        return StoreUnavailableError(f"{what}: {error}")
    if isinstance(error, InTheWayError | IsADirectoryError):
        return ConflictError(f"{reason} Move away what stands there, which this repository did not make.")
    if error.errno == errno.ENOENT and doing == "read":
        return MissingJobError(f"{what}: it holds no such job.")
    if error.errno in _FULL:
        return StoreFullError(f"{reason} Nothing of it was published. Free space or raise the quota, then try again.")
    if error.errno in _REFUSED:
        return StorePermissionError(f"{reason} Let this user read and write the folder, or use another one.")
    return StoreUnavailableError(f"{reason} Check the file system that the folder is on, then try again.")


def _said(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return f"{text} ({error.filename})" if isinstance(error.filename, str) else text
