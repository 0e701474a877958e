"""The one door through which a cluster's refusals and the client's failures come: each leaves it as one of ours.

What a caller can do next decides the class: mend the configuration or the permissions, mend the manifest, wait for
room, wait for the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from attrs import field, frozen
from pydatatask_core.errors import (
    ConfigurationError,
    ConflictError,
    MissingJobError,
    PydatataskError,
    SiteCredentialsError,
    SiteFullError,
    SiteUnavailableError,
    TemplateError,
)
from typing_extensions import override

__all__ = ["Answer", "Call", "ExpiredError", "unreachable"]

LONG = 1000
"""Characters of a server's words that are repeated."""

_FULL = ("exceeded quota", "status unknown for quota")


class ExpiredError(PydatataskError):
    """What was asked of is longer ago than the server remembers."""


@frozen
class Call:
    """What is asked of a cluster, in the words that its permissions use."""

    verb: str
    """``create``, ``get``, ``list``, ``watch``, ``patch`` or ``delete``."""
    namespace: str
    name: str = ""
    sub: str = ""
    """What of the pod is asked for: ``log``, ``exec``."""

    @property
    def resource(self) -> str:
        """The resource as permissions name it."""
        return f"pods/{self.sub}" if self.sub else "pods"

    @property
    def verbs(self) -> str:
        """What permissions have to allow."""
        # Servers from Kubernetes 1.35 on have a channel created, whatever the method of the request.
        return "verbs 'get' and 'create'" if self.sub == "exec" else f"verb {self.verb!r}"

    @property
    def path(self) -> str:
        """Where it is asked, below the server's address."""
        words = ["api", "v1", "namespaces", self.namespace, "pods", self.name, self.sub]
        return "/" + "/".join(word for word in words if word)

    @override
    def __str__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{name} in namespace {self.namespace}"


@frozen
class Answer:
    """An answer that is a refusal."""

    call: Call
    code: int
    text: str = field(repr=False)
    retry_after: str | None = None
    """What the header of that name says."""

    @property
    def status(self) -> Mapping[str, Any]:
        """The server's own account, if it gave one."""
        try:
            told = json.loads(self.text)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def message(self) -> str:
        """What the server says, in its own words."""
        words = str(self.status.get("message") or self.text or f"status {self.code}").strip()
        return words if len(words) <= LONG else f"{words[: LONG - 3]}..."

    @property
    def is_full(self) -> bool:
        """Whether a quota of the namespace has no room."""
        # A quota that has just been made has not been counted yet.
        return self.code == 403 and any(words in self.message for words in _FULL)

    @property
    def is_another(self) -> bool:
        """Whether what was to be changed is not there any more, and another has its name: old servers call it so."""
        return self.code == 422 and self.call.verb == "patch" and "metadata.uid" in self.message

    @property
    def is_worth_another_try(self) -> bool:
        """Whether the same request may be answered differently in a moment."""
        return self.code == 429 or self.code >= 500

    @property
    def wait(self) -> float | None:
        """The seconds that the server wants to be left alone; None if it does not say."""
        details = self.status.get("details")
        told = self.retry_after
        if told is None and isinstance(details, dict):
            told = details.get("retryAfterSeconds")
        try:
            return None if told is None else max(0.0, float(told))
        except (TypeError, ValueError):
            return None

    def error(self) -> PydatataskError:
        """Give what the refusal means to whoever asked."""
        doing = f"Cannot {self.call}"
        if self.is_full:
            return SiteFullError(f"{doing}: a quota of the namespace has no room now. {self.message}")
        if self.code == 401:
            return SiteCredentialsError(
                f"{doing}: the cluster refuses the credentials. Check the kubeconfig, its token. {self.message}"
            )
        if self.code == 403:
            return ConfigurationError(
                f"{doing}: forbidden. Give the user or service account a role with the {self.call.verbs} on the "
                f"resource {self.call.resource!r} in namespace {self.call.namespace!r}. {self.message}"
            )
        if self.code == 404 or (self.code == 400 and self.call.sub == "log"):
            return self._missing(doing)
        if self.code == 410:
            return ExpiredError(f"{doing}: {self.message}")
        if self.code == 409 or self.is_another:
            return ConflictError(f"{doing}: {self.message}")
        if self.is_worth_another_try:
            return SiteUnavailableError(f"{doing}: the API server answers {self.code}. {self.message}")
        if self.call.verb == "create" and self.code in {400, 413, 422}:
            return TemplateError(f"{doing}: the cluster does not take the manifest. {self.message}")
        return PydatataskError(f"{doing}: the API server answers {self.code}. {self.message}")

    def _missing(self, doing: str) -> PydatataskError:
        if self.call.name:
            return MissingJobError(f"{doing}: there is nothing. {self.message}")
        return ConfigurationError(
            f"{doing}: does the namespace exist, and is the server's address right? {self.message}"
        )


def unreachable(call: Call, server: str, error: Exception) -> PydatataskError:
    """Give what a failure to get any answer means."""
    doing = f"Cannot {call}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return ConfigurationError(f"{doing}: the certificate of {server} is not trusted. Check the kubeconfig. {error}")
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(f"{doing}: {server!r} is no address of an API server. Check the kubeconfig.")
    told = str(error).strip() or type(error).__name__
    return SiteUnavailableError(
        f"{doing}: the API server {server} does not answer ({told}). Check that it runs and can be reached from here."
    )
