"""The one door through which the SDK's errors come: each leaves it as one of ours, with its cause.

What a caller can do next decides the class: give other credentials, ask the bucket's owner, wait for the server.
No answer of a store that fails is ever taken for "there is nothing".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
from botocore.exceptions import (  # type: ignore[import-untyped]  # botocore has no type information
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from pydatatask_core.errors import (
    ConfigurationError,
    MissingJobError,
    PydatataskError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)

__all__ = ["REFUSALS", "TRANSPORT_ERRORS", "error_code", "error_status", "shown", "translated"]

REFUSALS: tuple[type[Exception], ...] = (ClientError,)
"""What the SDK raises when the store answers, and the answer is an error."""

TRANSPORT_ERRORS: tuple[type[Exception], ...] = (BotoCoreError, aiohttp.ClientError)
"""What the SDK raises when a request gets no whole answer. A body cut short is aiohttp's own error."""

_SDK_ERRORS = (*REFUSALS, *TRANSPORT_ERRORS)

_CREDENTIALS: tuple[type[Exception], ...] = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)

_Kind = tuple[type[PydatataskError], str, str]
"""The class of an error, what happened, and what to do about it."""

_NO_CREDENTIALS: _Kind = (
    StoreCredentialsError,
    "there are no usable credentials",
    "Give aws_access_key_id and aws_secret_access_key to create_client, "
    "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
)
_REFUSED: _Kind = (
    StoreCredentialsError,
    "the store refuses the credentials",
    "Check the access key id and the secret access key that the client was made with.",
)
_FORBIDDEN: _Kind = (
    StorePermissionError,
    "the store knows who is asking and does not permit it",
    "The bucket may be somebody else's: check its name, or have its owner permit to list, read, write and delete.",
)
_UNREACHABLE: _Kind = (
    StoreUnavailableError,
    "the endpoint does not answer",
    "Check endpoint_url, that the server runs, and that this machine can reach it.",
)
_NO_BUCKET: _Kind = (
    StoreUnavailableError,
    "there is no such bucket",
    "Opening the pipeline makes it. If it should be there already, check its name and the endpoint.",
)
_REGION: _Kind = (
    StoreUnavailableError,
    "the bucket belongs to another region than the client",
    "Give the bucket's region to create_client as region_name.",
)
_FULL: _Kind = (StoreFullError, "the store has no room", "Nothing was stored. Make room, or raise the quota.")
_TROUBLED: _Kind = (StoreUnavailableError, "the store failed", "Try again; if it stays, look into the server's log.")

_BY_CODE: dict[str, _Kind] = {
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"),
        _REFUSED,
    ),
    **dict.fromkeys(("InvalidSecurity", "NotSignedUp", "MissingSecurityHeader", "InvalidClientTokenId"), _REFUSED),
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"), _REGION
    ),
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"), _FULL),
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": (MissingJobError, "the bucket does not hold it", "List the repository to see what it holds."),
    "NoSuchUpload": (
        StoreUnavailableError,
        "somebody aborted the upload",
        "Nothing was stored. Write it again, and look for a lifecycle rule that ends uploads too early.",
    ),
    "EntityTooLarge": (StoreFullError, "the value is larger than the store takes", "Nothing was stored. Divide it."),
    "RequestTimeTooSkewed": (
        StoreUnavailableError,
        "this machine's clock differs too much from the store's",
        "Set the clock.",
    ),
    "InvalidBucketName": (ConfigurationError, "the store does not take this bucket name", "Choose another name."),
}

_BY_STATUS: dict[int, _Kind] = {401: _REFUSED, 403: _FORBIDDEN, 507: _FULL}


def error_code(error: Exception) -> str:
    """Give the code that the store answered with, such as ``NoSuchKey``; nothing if it did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def error_status(error: Exception) -> int:
    """Give the HTTP status that the store answered with; 0 if it did not answer."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def shown(endpoint: str) -> str:
    """Give an endpoint's URL without any user name and password that are in it."""
    parts = urlsplit(endpoint)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@contextmanager
def translated(doing: str, bucket: str, endpoint: str) -> Iterator[None]:
    """Have the SDK's errors raised as ours. ``doing`` completes the sentence "Cannot ..."."""
    try:
        yield
    except _SDK_ERRORS as error:
        kind, what, advice = _kind(error)
        raise kind(
            f"Cannot {doing} in S3 bucket {bucket!r} at {shown(endpoint)}: {what}{_detail(error)}. {advice}"
        ) from error


def _kind(error: Exception) -> _Kind:
    if isinstance(error, ClientError):
        return _BY_CODE.get(error_code(error)) or _BY_STATUS.get(error_status(error)) or _TROUBLED
    if isinstance(error, _CREDENTIALS):
        return _NO_CREDENTIALS
    if isinstance(error, ParamValidationError):
        return ConfigurationError, "the request is not valid", "Check the bucket's name, the prefix and the suffix."
    if isinstance(error, FlexibleChecksumError):
        return StoreUnavailableError, "the bytes that came are not the bytes that were stored", "Read it again."
    return _UNREACHABLE


def _detail(error: Exception) -> str:
    if isinstance(error, ClientError):
        message = str(error.response.get("Error", {}).get("Message", ""))
        detail = f"{error_code(error)}: {message}".strip(": .")
    elif isinstance(error, (*_CREDENTIALS, ParamValidationError)):
        detail = str(error).strip(" .")
    elif isinstance(error, BotoCoreError):
        # Its own text repeats the request's URL; what the transport said is under it.
        detail = str(error.kwargs.get("error") or error)
    else:
        detail = str(error) or type(error).__name__
    return f" ({detail})" if detail else ""
