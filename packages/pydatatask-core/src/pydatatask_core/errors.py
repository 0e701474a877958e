"""The whole tree of errors, so that a caller can see at one place what there is to catch.

Messages say what was being done, to what, and what to do about it. They never hold a secret.
"""

from __future__ import annotations

from typing_extensions import override

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "JobIdError",
    "LockHeldError",
    "MalformedValueError",
    "MissingJobError",
    "PydatataskError",
    "SessionClosedError",
    "SiteCredentialsError",
    "SiteFullError",
    "SiteUnavailableError",
    "StoreCredentialsError",
    "StoreFullError",
    "StorePermissionError",
    "StoreUnavailableError",
    "TemplateError",
]


class PydatataskError(Exception):
    """The root of every error that this project raises on purpose."""

    @override
    def __str__(self) -> str:
        # KeyError, which JobIdError also is, would show the repr of its message.
        return Exception.__str__(self)


class ConfigurationError(PydatataskError):
    """The pipeline as written cannot work; found at opening. Names the object and the fix."""


class JobIdError(PydatataskError, KeyError):
    """A string that is no valid job id was given as one."""


class MissingJobError(PydatataskError, LookupError):
    """A job that the repository does not hold was asked for."""


class MalformedValueError(PydatataskError, ValueError):
    """A stored value is not what its repository says it is: broken YAML, text that is not UTF-8."""


class SessionClosedError(PydatataskError, RuntimeError):
    """A live resource was asked for while its session was not open on this event loop."""

    def __init__(self, message: str, resource: object = None) -> None:
        super().__init__(message)
        self.resource = resource
        """The resource that was asked for, if it was one of a session."""


class TemplateError(PydatataskError):
    """A template could not be rendered. Names the template and the variable."""


class StoreUnavailableError(PydatataskError):
    """A store cannot be asked now. It never means that the store is empty."""


class StoreCredentialsError(StoreUnavailableError):
    """The store refuses the credentials that it was given."""


class StorePermissionError(StoreUnavailableError):
    """The store knows the caller and refuses the request: somebody else's bucket or folder."""


class StoreFullError(StoreUnavailableError):
    """The store has no room for the value. Nothing of it was published."""


class SiteUnavailableError(PydatataskError):
    """An execution site cannot be asked now. Nothing is known about its runs."""


class SiteCredentialsError(SiteUnavailableError):
    """The site refuses the credentials that it was given, or cannot prove that it is the one they are for."""


class SiteFullError(SiteUnavailableError):
    """An execution site has no room for a run. Nothing of it was made."""


class ConflictError(PydatataskError):
    """Something else already stands where a claim or a value was to be made."""


class LockHeldError(ConflictError):
    """Another controller drives this pipeline. Names its host, process and since when."""
