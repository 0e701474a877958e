"""The one door through which answers that are errors come: each becomes one of our errors, with its cause.

What a caller can do next decides the class: log in, ask for a permission, turn deleting on, wait for the registry.
No answer of a registry that fails is ever taken for "there is no such tag".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from attrs import frozen
from pydatatask_core.errors import (
    ConfigurationError,
    MissingJobError,
    PydatataskError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)
from yarl import URL

__all__ = [
    "ANONYMOUS",
    "ELSEWHERE",
    "FORBIDDEN",
    "NO_REGISTRY",
    "NO_TOKEN",
    "UNTRUSTED",
    "Answer",
    "CannotDeleteError",
    "refusal",
    "translated",
]


class CannotDeleteError(StorePermissionError, ConfigurationError):
    """The registry was not told to allow deleting. Nothing was changed."""


@frozen
class Answer:
    """What a registry answered to one request."""

    status: int
    headers: dict[str, str]
    """By name, in lower case."""
    body: bytes
    origin: URL
    """Who gave it, which is another server where the registry sent us on."""
    authenticate: tuple[str, ...] = ()
    """The ``WWW-Authenticate`` headers."""
    next_page: str = ""
    """Where the rest of a listing is, as a URL; nothing if this is all of it."""

    @property
    def codes(self) -> list[str]:
        """The codes of the errors that the body tells of, such as ``MANIFEST_UNKNOWN``."""
        try:
            errors = json.loads(self.body)["errors"]
            return [str(error.get("code", "")) for error in errors]
        except (ValueError, KeyError, TypeError, AttributeError):
            return []

    @property
    def said(self) -> str:
        """The status, and what the body tells of the reason."""
        codes = ", ".join(code for code in self.codes if code)
        return f"{self.status} {codes}".strip()


_Kind = tuple[type[PydatataskError], str, str]
"""The class of an error, what happened, and what to do about it."""

_UNREACHABLE: _Kind = (
    StoreUnavailableError,
    "the registry does not answer",
    "Check the domain and its port, that the registry runs, and that this machine can reach it.",
)
_NO_TLS: _Kind = (
    StoreUnavailableError,
    "no safe connection could be made",
    "If the registry speaks plain HTTP, make the client with tls=False; if its certificate is signed by an authority "
    "of your own, give ssl_context=.",
)
_NOT_UNDERSTOOD: _Kind = (
    StoreUnavailableError,
    "the answer cannot be understood",
    "Check the domain: what answers there may be no registry of API version 2.",
)
_TROUBLED: _Kind = (StoreUnavailableError, "the registry failed", "Try again; if it stays, look into its log.")

_REFUSED: _Kind = (
    StoreCredentialsError,
    "the registry refuses the credentials",
    "Check the user name and the password or token that the client was made with.",
)
FORBIDDEN: _Kind = (
    StorePermissionError,
    "the registry knows who is asking and does not permit it",
    "Have the user permitted to pull, push and delete in this repository.",
)
ANONYMOUS: _Kind = (
    StoreCredentialsError,
    "the registry wants to know who is asking",
    "Make the client with a user name and a password or token.",
)
ELSEWHERE: _Kind = (
    StorePermissionError,
    "the registry sent us to another server, which wants to know who is asking",
    "No credentials were sent there. Look into the registry's settings.",
)
NO_TOKEN: _Kind = (
    StoreUnavailableError,
    "the registry's token service failed",
    "Try again; if it stays, look into its log.",
)
UNTRUSTED: _Kind = (
    StoreUnavailableError,
    "the registry does not accept what its token service gave",
    "Try again; if it stays, see that the registry trusts the service, and that their clocks agree.",
)
NO_REGISTRY: _Kind = (
    StoreUnavailableError,
    "what answers there is no registry of API version 2",
    "Check the domain and its port.",
)
_BY_STATUS: dict[int, _Kind] = {
    401: _REFUSED,
    403: FORBIDDEN,
    404: (
        MissingJobError,
        "the registry does not hold it",
        "Check the repository's name, and list it to see what it holds.",
    ),
    405: (
        CannotDeleteError,
        "the registry does not delete",
        "Nothing was changed. Turn deleting on: registry:2 does it with REGISTRY_STORAGE_DELETE_ENABLED=true.",
    ),
    429: (StoreUnavailableError, "there were too many requests", "Try again later, or log in to be allowed more."),
    507: (StoreFullError, "the registry has no room", "Nothing was stored. Make room."),
}


def refusal(doing: str, where: str, answer: Answer, kind_of: _Kind | None = None) -> PydatataskError:
    """Give the error for an answer that is none of the expected ones."""
    kind, what, advice = kind_of or _BY_STATUS.get(answer.status, _TROUBLED)
    return kind(f"Cannot {doing} in {where}: {what} ({answer.said}). {advice}")


@contextmanager
def translated(doing: str, where: str) -> Iterator[None]:
    """Have what goes wrong on the way to a registry raised as our errors."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        kind, what, advice = _UNREACHABLE
        if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
            kind, what, advice = _NO_TLS
        elif isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            kind, what, advice = _NOT_UNDERSTOOD
        detail = str(error) or type(error).__name__
        raise kind(f"Cannot {doing} in {where}: {what} ({detail}). {advice}") from error
