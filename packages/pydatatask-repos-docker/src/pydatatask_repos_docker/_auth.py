"""How a registry is told who is asking: by user name and password, or by a token that a service gives for them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Sequence

from attrs import define, field, frozen
from yarl import URL

__all__ = ["Challenge", "Credentials", "Tokens", "challenges", "says_invalid", "token_url"]

_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_SPARE = 10.0
"""Seconds before its end at which a token is not used any more."""
_LIFETIME = 60.0
"""Seconds that a token lasts whose service does not tell."""


@frozen
class Credentials:
    """A user name, and a password or access token."""

    username: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


@frozen
class Challenge:
    """What a registry wants to see: basic authentication, or a token of a service for a scope."""

    scheme: str
    """``basic`` or ``bearer``."""
    realm: str
    service: str
    scope: str


def challenges(headers: Sequence[str]) -> list[Challenge]:
    """Read the ``WWW-Authenticate`` headers of an answer. What is not understood is left out."""
    found: list[Challenge] = []
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(rest)}
        if scheme.lower() in ("basic", "bearer"):
            found.append(
                Challenge(
                    scheme.lower(),
                    parameters.get("realm", ""),
                    parameters.get("service", ""),
                    parameters.get("scope", ""),
                )
            )
    return found


def says_invalid(headers: Sequence[str]) -> bool:
    """Tell whether ``WWW-Authenticate`` headers call the token itself wrong, and not what it allows."""
    return any(("error", "invalid_token") in _PARAMETER.findall(header) for header in headers)


@define
class Tokens:
    """The tokens that were given, as long as they last."""

    _known: dict[tuple[Challenge, Credentials | None], tuple[str, float]] = field(factory=dict)

    def known(self, challenge: Challenge, credentials: Credentials | None) -> str | None:
        """Give a token that still lasts."""
        token, until = self._known.get((challenge, credentials), ("", 0.0))
        return token if asyncio.get_running_loop().time() < until else None

    def keep(self, challenge: Challenge, credentials: Credentials | None, body: bytes) -> str:
        """Read a token service's answer, and keep its token.

        :raises ValueError: if there is no token in it.
        """
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            # The answer may hold secrets.
            raise ValueError("the token service gave no token")  # noqa: TRY004  # it is the answer that is wrong
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else _LIFETIME
        self._known[challenge, credentials] = token, asyncio.get_running_loop().time() + seconds - _SPARE
        return token

    def forget(self, challenge: Challenge, credentials: Credentials | None) -> None:
        """Drop a token that was refused."""
        self._known.pop((challenge, credentials), None)


def token_url(challenge: Challenge, *, tls: bool) -> URL:
    """Give where to ask for a token.

    :raises ValueError: if that is no URL, or a password would be sent there for all to read.
    """
    url = URL(challenge.realm)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"the registry names {challenge.realm!r} as its token service, which is no URL")
    if tls and url.scheme != "https":
        raise ValueError(f"the registry names a token service without TLS, {challenge.realm}")
    query = {"service": challenge.service, "scope": challenge.scope}
    return url.update_query({name: value for name, value in query.items() if value})
