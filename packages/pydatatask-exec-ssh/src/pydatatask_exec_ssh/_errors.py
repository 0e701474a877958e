"""The one door at which errors of asyncssh become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh
from pydatatask_core.errors import SiteCredentialsError, SiteFullError, SiteUnavailableError

__all__ = ["cut", "explain", "explained"]

_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)


def explain(doing: str, host: str, error: Exception) -> SiteUnavailableError:
    """Say what was being done, where, why it failed, and what to do about it."""
    kind = SiteUnavailableError
    if isinstance(error, _FULL):
        kind = SiteFullError
    elif isinstance(error, asyncssh.HostKeyNotVerifiable) or _is_refusal(error):
        kind = SiteCredentialsError
    return kind(f"Cannot {doing} on {host}: {_reason(error)}")


def cut(doing: str, host: str) -> SiteUnavailableError:
    """Say that the connection ended on the way, which asyncssh tells by an end without an exit status."""
    return SiteUnavailableError(f"Cannot {doing} on {host}: the connection, or its shell, ended on the way.")


@contextmanager
def explained(doing: str, host: str) -> Iterator[None]:
    """Translate what fails within the block."""
    try:
        yield
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise explain(doing, host, error) from error


def _is_refusal(error: Exception) -> bool:
    # OpenSSH hangs up on whoever offers more keys than it takes, with a code that says nothing.
    too_many = isinstance(error, asyncssh.ProtocolError) and "authentication failures" in error.reason
    return too_many or isinstance(error, asyncssh.PermissionDenied)


def _reason(error: Exception) -> str:
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return (
            f"its host key is not the one that is known ({error.reason}). If it is the right one, put it into "
            f"known_hosts; otherwise somebody may stand between."
        )
    if isinstance(error, asyncssh.DisconnectError) and _is_refusal(error):
        return f"the server refuses the login ({error.reason}). Check the user's name, key or password."
    if isinstance(error, asyncssh.ChannelOpenError):
        return (
            f"the server opens no further channel ({error.reason}). Give the manager fewer channels than MaxSessions."
        )
    if isinstance(error, asyncssh.SFTPError | asyncssh.DisconnectError):
        return error.reason or type(error).__name__
    if isinstance(error, TimeoutError) and not str(error):
        return "there was no answer in time."
    return str(error) or type(error).__name__
