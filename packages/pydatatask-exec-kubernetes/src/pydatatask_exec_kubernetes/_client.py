"""A thin typed layer over the Kubernetes SDK: its configuration and credentials, one connection pool, JSON in and out.

The SDK's models are left out. A pod is plain JSON here, so that servers older and newer than the SDK are understood,
and a pod's manifest is sent as its author wrote it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from pydatatask_core.errors import ConfigurationError, SiteUnavailableError
from yarl import URL

from ._errors import Answer, Call, unreachable

__all__ = ["Cluster", "Config", "Pod", "Query"]

Config = Configuration | Callable[[], Configuration | Awaitable[Configuration]]
"""A client configuration, or what makes one when it is needed."""

Pod = Mapping[str, Any]
"""A pod as the API server tells it."""

Query = Sequence[tuple[str, str]]

TRIES = 6
"""How often a request is made that the server puts off."""
LONGEST = 30.0
"""Seconds to wait between two of them, at most."""
ANSWER = aiohttp.ClientTimeout(total=60.0, sock_connect=10.0)

_METHODS = {"create": "POST", "get": "GET", "list": "GET", "watch": "GET", "patch": "PATCH", "delete": "DELETE"}


class Cluster:
    """A connection to a cluster, made when it is first used. Belongs to the event loop that it was first used on."""

    def __init__(self, config: Config | None = None) -> None:
        """:param config: None takes the kubeconfig of KUBECONFIG or the home folder; in a pod, its account."""
        self._source = config
        self._config: Configuration | None = None
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None
        self._opening = asyncio.Lock()
        self.requests: dict[str, int] = {}
        """Requests made so far, by verb and resource."""

    @property
    def server(self) -> str:
        """The server's address, once it is known."""
        return "of the kubeconfig" if self._config is None else str(self._config.host)

    async def close(self) -> None:
        """Close all connections. May be called again; a later use connects anew."""
        session, self._session = self._session, None
        self._config = None
        if session is not None:
            await session.close()

    async def call(self, call: Call, body: Any = None, query: Query = ()) -> Any:
        """Make a request and give the JSON that is answered. What the server puts off is asked again.

        :raises SiteCredentialsError: if the server refuses the credentials.
        :raises ConfigurationError: if it refuses the request, or the namespace is missing.
        :raises MissingJobError: if the pod does not exist.
        :raises ConflictError: if it exists already, or is another one.
        :raises SiteFullError: if a quota has no room.
        :raises SiteUnavailableError: if the server cannot be reached, or puts it off for long.
        """
        async with self.stream(call, body, query, ANSWER) as response:
            try:
                return await response.json(content_type=None)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise unreachable(call, self.server, error) from error

    @asynccontextmanager
    async def stream(
        self, call: Call, body: Any = None, query: Query = (), patience: aiohttp.ClientTimeout = ANSWER
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Make a request and give the answer to be read. Fails as :meth:`call` does."""
        response = await self.open(call, body, query, patience)
        try:
            yield response
        finally:
            response.close()

    async def open(
        self, call: Call, body: Any = None, query: Query = (), patience: aiohttp.ClientTimeout = ANSWER
    ) -> aiohttp.ClientResponse:
        """As :meth:`stream`, with an answer that the caller closes."""
        data = None if body is None else json.dumps(body)
        for attempt in range(TRIES):
            session, config = await self._connected()
            response = await self._once(session, config, call, data, query, patience)
            if response.status < 300:
                return response
            answer = await self._refusal(call, response)
            if answer.code == 401 and attempt == 0:
                # A token that has run out is read anew, once for all who were refused.
                self._config = None if self._config is config else self._config
            elif not answer.is_worth_another_try or attempt == TRIES - 1:
                raise answer.error()
            else:
                wait = min(0.5 * 2**attempt, LONGEST) if answer.wait is None else min(answer.wait, LONGEST)
                await asyncio.sleep(wait * (1 + random.uniform(0, 0.1)))  # noqa: S311  # spreads load, guards nothing
        raise SiteUnavailableError(f"Cannot {call}: the API server puts it off.")

    async def _once(
        self,
        session: aiohttp.ClientSession,
        config: Configuration,
        call: Call,
        data: str | None,
        query: Query,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = await self._headers(config)
        if data is not None:
            merge = call.verb == "patch"
            headers["Content-Type"] = "application/merge-patch+json" if merge else "application/json"
        key = f"{call.verb} {call.resource}"
        self.requests[key] = self.requests.get(key, 0) + 1
        try:
            return await session.request(
                _METHODS[call.verb],
                f"{config.host}{call.path}",
                params=list(query),
                data=data,
                headers=headers,
                timeout=patience,
                proxy=self._proxy,
                server_hostname=config.tls_server_name,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(call, self.server, error) from error

    @asynccontextmanager
    async def websocket(
        self, call: Call, query: Query, protocols: Sequence[str]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a channel to a program in a pod, by the first of the protocols that the server knows.

        Fails as :meth:`call` does.
        """
        session, config = await self._connected()
        try:
            socket = await session.ws_connect(
                f"{config.host}{call.path}",
                params=list(query),
                headers=await self._headers(config),
                protocols=protocols,
                heartbeat=30.0,
                proxy=self._proxy,
                server_hostname=config.tls_server_name,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise Answer(call, error.status, error.message).error() from error
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(call, self.server, error) from error
        try:
            yield socket
        finally:
            await socket.close()

    async def _refusal(self, call: Call, response: aiohttp.ClientResponse) -> Answer:
        try:
            text = await response.text(errors="replace")
        except (aiohttp.ClientError, OSError) as error:
            text = str(error)
        finally:
            response.close()
        return Answer(call, response.status, text, response.headers.get("Retry-After"))

    async def _headers(self, config: Configuration) -> dict[str, str]:
        headers = {"Accept": "application/json, */*"}
        # The hook of the configuration renews a token that is about to run out.
        token = await config.get_api_key_with_prefix("BearerToken")
        if token:
            headers["Authorization"] = token
        return headers

    async def _connected(self) -> tuple[aiohttp.ClientSession, Configuration]:
        async with self._opening:
            if self._config is None:
                self._config = await _configuration(self._source)
            config = self._config
            if self._session is None:
                trust, self._proxy = await asyncio.to_thread(lambda: (_trust(config), _proxy(config)))
                connector = aiohttp.TCPConnector(ssl=trust, limit=config.connection_pool_maxsize or 100)
                # What a watch tells of one pod may be longer than what is read ahead otherwise.
                self._session = aiohttp.ClientSession(connector=connector, read_bufsize=2**18)
            return self._session, config


async def _configuration(source: Config | None) -> Configuration:
    if isinstance(source, Configuration):
        return source
    if source is not None:
        made = source()
        return await made if isawaitable(made) else made
    # The SDK reads files, and may call programs on a loop of its own.
    return await asyncio.to_thread(_default)


def _default() -> Configuration:
    config = Configuration()
    named = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    try:
        if any(Path(path).expanduser().is_file() for path in named.split(os.pathsep)):
            asyncio.run(load_kube_config(config_file=named, client_configuration=config, persist_config=False))
        else:
            load_incluster_config(client_configuration=config)  # type: ignore[no-untyped-call]  # the SDK's
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigurationError(
            f"There is no cluster to connect to: no usable kubeconfig at {named}, and this is no pod with a service "
            f"account ({error}). Set KUBECONFIG, or give PodManager a config."
        ) from error
    return config


def _proxy(config: Configuration) -> str | None:
    """Give the proxy of the configuration, or else of the environment, which is read once."""
    if config.proxy:
        return str(config.proxy)
    server = URL(str(config.host))
    return None if proxy_bypass(server.host or "") else getproxies().get(server.scheme)


def _trust(config: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ssl_ca_cert)
    if config.cert_file:
        context.load_cert_chain(config.cert_file, keyfile=config.key_file)
    if not config.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Authorities that clusters make for themselves are often not as strict as Python 3.13 wants them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
