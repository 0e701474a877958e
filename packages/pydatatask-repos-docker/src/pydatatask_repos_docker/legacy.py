"""Client objects of earlier releases: of theirs only the credentials are used."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from pydatatask_core.errors import ConfigurationError
from typing_extensions import override

from ._auth import Credentials
from .client import RegistryClient

__all__ = ["HasCredentials", "opened"]


class HasCredentials(Protocol):
    """A client object of another library that knows users by registry, as earlier releases had it."""

    @property
    def credentials(self) -> Mapping[str, str | tuple[str, str]]:
        """By registry, as a domain or as a URL: user name and password as a pair, or as text with ``:`` between
        them, in base64 or not."""
        ...


@asynccontextmanager
async def opened(client: RegistryClient | HasCredentials) -> AsyncIterator[RegistryClient]:
    """Give the client itself, or one for this block that knows what an object of another library knows."""
    if isinstance(client, RegistryClient):
        yield client
        return
    known = getattr(client, "credentials", None)
    if not isinstance(known, Mapping):
        raise ConfigurationError(
            f"A DockerRepository got an object of the class {type(client).__name__} as its registry. "
            "Return a RegistryClient, opened with 'async with'."
        )
    async with _Knowing(known) as knowing:
        yield knowing


class _Knowing(RegistryClient):
    def __init__(self, known: Mapping[str, str | tuple[str, str]]) -> None:
        super().__init__()
        self._known = {_domain(registry): _read(value) for registry, value in known.items()}

    @override
    def credentials_for(self, domain: str) -> Credentials | None:
        return self._known.get(_domain(domain))


def _domain(registry: str) -> str:
    domain = registry.rpartition("://")[2].partition("/")[0]
    return "docker.io" if domain in ("index.docker.io", "registry-1.docker.io") else domain


def _read(value: str | tuple[str, str]) -> Credentials:
    if not isinstance(value, str):
        return Credentials(*value)
    text = value
    if ":" not in text:
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
    username, colon, password = text.partition(":")
    if not colon:
        raise ConfigurationError("Credentials of a registry must be 'user:password', also in base64, or a pair.")
    return Credentials(username, password)
