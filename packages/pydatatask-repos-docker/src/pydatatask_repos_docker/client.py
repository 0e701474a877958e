"""A client of Docker registries, HTTP API version 2, as far as tags and manifests go."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp
from attrs import frozen
from pydatatask_core.errors import ConfigurationError, SessionClosedError
from yarl import URL

from ._auth import Challenge, Credentials, Tokens, challenges, says_invalid, token_url
from ._errors import (
    ANONYMOUS,
    ELSEWHERE,
    FORBIDDEN,
    NO_REGISTRY,
    NO_TOKEN,
    UNTRUSTED,
    Answer,
    refusal,
    translated,
)

__all__ = ["RegistryClient", "Request"]

GREETING = "/v2/"
"""What every registry answers."""

HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
"""Domains whose registry is at another one."""


@frozen
class Request:
    """What is asked of a registry."""

    domain: str
    repository: str
    doing: str
    """Completes the sentence "Cannot ..." in errors."""
    method: str
    url: str
    """A path, with its query, or a whole URL that the registry gave."""
    headers: Mapping[str, str] = {}
    body: bytes | None = None

    @property
    def where(self) -> str:
        """Say in errors where it is asked."""
        return f"Docker repository {self.domain}/{self.repository}"

    @property
    def right(self) -> tuple[str, str, str]:
        """What a token must allow, as far as it is known before the registry says it."""
        if self.url == GREETING:
            return self.domain, "", ""
        right = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.method, "push")
        return self.domain, self.repository, right


class RegistryClient:
    """Open connections to registries, as one user. An async context manager; it belongs to one event loop.

    ``username`` and ``password`` (or an access token in its place) are shown to every registry that asks for them,
    so make one client for each. ``tls=False`` is for registries that speak plain HTTP, on this machine or in a test.
    ``ssl_context`` replaces the usual authorities. ``timeout`` is in seconds, for each request as a whole.
    """

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        *,
        tls: bool = True,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 60.0,
    ) -> None:
        if (username is None) != (password is None):
            raise ConfigurationError("Give both user name and password to RegistryClient, or none of them.")
        self._user = None if username is None or password is None else Credentials(username, password)
        self._tls = tls
        self._ssl = ssl_context
        self._timeout = timeout
        self._http: aiohttp.ClientSession | None = None
        self._tokens = Tokens()
        self._challenges: dict[tuple[str, str, str], Challenge] = {}
        self._greeted: set[str] = set()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._ssl or True),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def credentials_for(self, domain: str) -> Credentials | None:
        """Give the user to be at a registry."""
        return self._user

    async def ask(self, request: Request) -> Answer:
        """Make a request, and log in if the registry wants it. The answer may be a refusal of any other kind.

        :raises SessionClosedError: if the client is not open.
        :raises StoreCredentialsError: if the registry wants a login, and there is none or it is refused.
        :raises StorePermissionError: if the registry gives this user no token for it.
        :raises StoreUnavailableError: if nothing answers, or nothing that is a registry.
        """
        if request.domain not in self._greeted:
            greeting = Request(request.domain, request.repository, request.doing, "GET", GREETING)
            answer = await self._ask(greeting)
            if answer.status in (404, 405) or (answer.status == 200 and not _is_registry(answer)):
                raise refusal(request.doing, request.where, answer, NO_REGISTRY)
            if answer.status >= 400:
                raise refusal(request.doing, request.where, answer)
            self._greeted.add(request.domain)
        return await self._ask(request)

    async def _ask(self, request: Request) -> Answer:
        credentials = self.credentials_for(request.domain)
        challenge = self._challenges.get(request.right)
        if challenge is not None:
            answer = await self._send(request, await self._authorization(request, challenge, credentials))
        else:
            answer = await self._send(request, None)
        if answer.status != 401:
            return answer
        for challenge in challenges(answer.authenticate):
            if challenge.scheme == "basic" and credentials is None:
                raise refusal(request.doing, request.where, answer, ANONYMOUS)
            self._tokens.forget(challenge, credentials)
            answer = await self._send(request, await self._authorization(request, challenge, credentials))
            if answer.status != 401:
                self._challenges[request.right] = challenge
                return answer
            if challenge.scheme == "bearer" and says_invalid(answer.authenticate):
                raise refusal(request.doing, request.where, answer, UNTRUSTED)
            if credentials is None:
                raise refusal(request.doing, request.where, answer, ANONYMOUS)
            if challenge.scheme == "bearer":
                # The token service let the user in, and did not give this right.
                raise refusal(request.doing, request.where, answer, FORBIDDEN)
            break
        raise refusal(request.doing, request.where, answer)

    async def _authorization(self, request: Request, challenge: Challenge, credentials: Credentials | None) -> str:
        if challenge.scheme == "basic":
            assert credentials is not None
            return credentials.header
        token = self._tokens.known(challenge, credentials)
        if token is None:
            with translated(request.doing, request.where):
                url = token_url(challenge, tls=self._tls)
                headers = {} if credentials is None else {"Authorization": credentials.header}
                answer = await self._fetch("GET", url, headers, None)
                if answer.status == 200:
                    token = self._tokens.keep(challenge, credentials, answer.body)
            if token is None:
                kind = None if answer.status in (401, 403, 429) else NO_TOKEN
                if answer.status == 401 and credentials is None:
                    kind = ANONYMOUS
                raise refusal(request.doing, request.where, answer, kind)
        return f"Bearer {token}"

    async def _send(self, request: Request, authorization: str | None) -> Answer:
        base = URL(f"{'https' if self._tls else 'http'}://{HOSTS.get(request.domain, request.domain)}")
        with translated(request.doing, request.where):
            # What a registry gave is encoded already, and is not to be encoded again.
            url = base.join(URL(request.url, encoded=True))
            headers = dict(request.headers)
            if authorization is not None and url.origin() == base.origin():
                headers["Authorization"] = authorization
            answer = await self._fetch(request.method, url, headers, request.body)
        if answer.status == 401 and answer.origin != base.origin():
            # Who asks there is not the registry, and must not learn who we are.
            raise refusal(request.doing, request.where, answer, ELSEWHERE)
        return answer

    async def _fetch(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self._http is None:
            raise SessionClosedError("The registry client is not open. Use it in an 'async with' block.")
        async with self._http.request(method, url, headers=headers, data=body) as response:
            following = response.links["next"]["url"] if "next" in response.links else ""
            return Answer(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=await response.read(),
                origin=response.url.origin(),
                authenticate=tuple(response.headers.getall("WWW-Authenticate", [])),
                next_page=str(following),
            )


def _is_registry(answer: Answer) -> bool:
    """Tell a registry's greeting from the page that a web server shows at any path."""
    return "docker-distribution-api-version" in answer.headers or "html" not in answer.headers.get("content-type", "")
