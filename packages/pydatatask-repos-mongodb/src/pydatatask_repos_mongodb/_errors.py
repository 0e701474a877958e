"""The one door through which the driver's errors come: each leaves it as one of ours, with its cause.

Both drivers raise PyMongo's errors. What a caller can do next decides the class: give other credentials, ask for a
permission, wait for the server. No answer of a server that fails is ever taken for "there is nothing".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bson.errors import BSONError
from pydatatask_core.errors import (
    ConfigurationError,
    ConflictError,
    MalformedValueError,
    PydatataskError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)
from pymongo.errors import (
    ConfigurationError as DriverConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    InvalidName,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
)

__all__ = ["error_code", "is_duplicate_id", "refuses_credentials", "translated"]

_Kind = tuple[type[PydatataskError], str, str]
"""The class of an error, what happened, and what to do about it."""

_REFUSED: _Kind = (
    StoreCredentialsError,
    "the server refuses the credentials",
    "Check user name, password and authSource that the client was made with.",
)
_NO_CREDENTIALS: _Kind = (
    StoreCredentialsError,
    "the server wants to know who is asking",
    "Give user name and password to the client.",
)
_FORBIDDEN: _Kind = (
    StorePermissionError,
    "the server knows who is asking and does not permit it",
    "Have the user granted the role readWrite on the database.",
)
_UNREACHABLE: _Kind = (
    StoreUnavailableError,
    "the server does not answer",
    "Check the client's address, that the server runs, and that this machine can reach it.",
)
_TOO_LARGE: _Kind = (
    StoreFullError,
    "the value is larger than a document may be, 16 MiB",
    "Nothing was stored. Keep large data in a blob repository, and here what describes it.",
)
_FULL: _Kind = (StoreFullError, "the server has no room", "Nothing was stored. Make room, or raise the quota.")
_TOO_DEEP: _Kind = (MalformedValueError, "the value is nested too deeply for a document", "Make it flatter.")
_INVALID: _Kind = (
    MalformedValueError,
    "the collection's validator refuses the value",
    "Nothing was stored. Change the value, or the validator of the collection.",
)
_TAKEN: _Kind = (
    ConflictError,
    "another document has the same value in a field that a unique index covers",
    "Nothing was stored. Drop the index, or change the value.",
)
_BROKEN: _Kind = (MalformedValueError, "the value is no valid document", "Correct it in the store, or delete the job.")
_CLIENT: _Kind = (ConfigurationError, "the client cannot do it", "Check how the client was made.")
_CLOSED: _Kind = (StoreUnavailableError, "the client is closed", "Use it within its session.")
_NAME: _Kind = (ConfigurationError, "the server does not take this name", "Choose another name.")
_TROUBLED: _Kind = (StoreUnavailableError, "the server failed", "Try again; if it stays, look into the server's log.")

_UNAUTHORIZED = 13
_BY_CODE: dict[int | None, _Kind] = {
    **dict.fromkeys((11, 18, 33, 391, 8000), _REFUSED),
    **dict.fromkeys((10334, 17280, 17419, 17420, 17421), _TOO_LARGE),
    **dict.fromkeys((12501, 14031), _FULL),
    _UNAUTHORIZED: _FORBIDDEN,
    15: _TOO_DEEP,
    73: _NAME,
    121: _INVALID,
    11000: _TAKEN,
}


@contextmanager
def translated(doing: str, where: Callable[[], str]) -> Iterator[None]:
    """Have the driver's errors raised as ours. ``doing`` and ``where`` complete the sentence "Cannot ... in ..."."""
    try:
        yield
    except (PyMongoError, BSONError, TimeoutError, RecursionError) as error:
        kind, what, advice = _kind(error)
        raise kind(f"Cannot {doing} in {where()}: {what}{_detail(error)}. {advice}") from error


def error_code(error: Exception) -> int | None:
    """Give the code that the server answered with; None if it did not answer."""
    return error.code if isinstance(error, OperationFailure) else None


def refuses_credentials(error: Exception) -> bool:
    """Tell whether the server refuses to talk to this client at all."""
    return _kind(error)[0] is StoreCredentialsError


def is_duplicate_id(error: OperationFailure) -> bool:
    """Tell whether a document was refused because its key is taken, and not a value in another unique index."""
    pattern = (error.details or {}).get("keyPattern")
    # Old servers tell the index in words alone.
    return pattern == {"_id": 1} if pattern is not None else "_id_ " in str(error)


def _kind(error: Exception) -> _Kind:
    if isinstance(error, DocumentTooLarge):
        return _TOO_LARGE
    if isinstance(error, OperationFailure):
        if error.code == _UNAUTHORIZED and "requires authentication" in str(error):
            return _NO_CREDENTIALS
        return _BY_CODE.get(error.code, _TROUBLED)
    for driver_errors, kind in _BY_CLASS:
        if isinstance(error, driver_errors):
            return kind
    return _TROUBLED


def _detail(error: Exception) -> str:
    if isinstance(error, DocumentTooLarge | RecursionError):
        return ""
    if isinstance(error, OperationFailure):
        if error.code == 11000:
            # The server's own words repeat the value.
            return f" ({', '.join((error.details or {}).get('keyPattern', {}))})"
        text = str((error.details or {}).get("errmsg") or error)
        return f" (code {error.code}: {text.strip(' .')})"
    # A failed selection tells the whole topology after the first reasons.
    text = str(error).partition(", Timeout: ")[0].strip(" .")
    return f" ({text or type(error).__name__})"


_BY_CLASS: tuple[tuple[type[Exception], _Kind], ...] = (
    (ConnectionFailure, _UNREACHABLE),
    (TimeoutError, _UNREACHABLE),
    (RecursionError, _TOO_DEEP),
    (InvalidName, _NAME),
    (InvalidOperation, _CLOSED),
    (DriverConfigurationError, _CLIENT),
    (BSONError, _BROKEN),
)
