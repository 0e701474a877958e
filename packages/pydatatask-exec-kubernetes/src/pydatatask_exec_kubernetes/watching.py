"""One watch for all pods of an app: listed once, then followed by resource version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import aiohttp
from attrs import frozen
from pydatatask_core.errors import SiteUnavailableError

from ._client import Cluster, Pod
from ._errors import Answer, Call, ExpiredError, unreachable

__all__ = ["Change", "Listing", "follow_pods", "list_pods"]

PAGE = 500
"""Pods that one answer lists."""
SPELL = 240
"""Seconds after which the server is to end a watch, so that load is spread when there are several servers."""
SILENCE = aiohttp.ClientTimeout(sock_connect=10.0, sock_read=90.0)
"""After so long without a word, bookmarks included, the connection is taken to be dead."""
FAILURES = 4
"""Attempts to go on with a watch that was interrupted."""


@frozen
class Listing:
    """All pods that there are."""

    pods: list[Pod]


@frozen
class Change:
    """Something happened to a pod."""

    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    pod: Pod


async def list_pods(cluster: Cluster, namespace: str, labels: Sequence[str]) -> tuple[list[Pod], str]:
    """Give all pods that are selected, and the version of what was seen. Fails as :meth:`Cluster.call` does."""
    while True:
        try:
            return await _list(cluster, namespace, labels)
        except ExpiredError:
            # Pages of a list that changed too much meanwhile: it is listed anew.
            continue


async def _list(cluster: Cluster, namespace: str, labels: Sequence[str]) -> tuple[list[Pod], str]:
    pods: list[Pod] = []
    query = [("labelSelector", ",".join(labels)), ("limit", str(PAGE))]
    more = ""
    while True:
        page = await cluster.call(Call("list", namespace), query=[*query, ("continue", more)] if more else query)
        pods += page.get("items") or ()
        more = page["metadata"].get("continue") or ""
        if not more:
            return pods, str(page["metadata"]["resourceVersion"])


async def follow_pods(cluster: Cluster, namespace: str, labels: Sequence[str]) -> AsyncIterator[Listing | Change]:
    """Tell of the pods that are selected: all of them first, then what happens, and all again if anything was missed.

    An interrupted watch goes on where it was.

    :raises SiteUnavailableError: if it cannot be made to go on.
    """
    failures = 0
    version: str | None = None
    while True:
        if version is None:
            pods, version = await list_pods(cluster, namespace, labels)
            yield Listing(pods)
        heard = False
        try:
            async for kind, pod in _stream(cluster, namespace, labels, version):
                heard = True
                version = str(pod["metadata"]["resourceVersion"])
                if kind != "BOOKMARK":
                    yield Change(kind, pod)
        except ExpiredError:
            version = None
        except SiteUnavailableError:
            failures = 0 if heard else failures
            failures += 1
            if failures > FAILURES:
                raise
            await asyncio.sleep(0.25 * 2**failures)
        else:
            failures = 0
            if not heard:
                # A server that ends watches at once is not to be asked as fast as it answers.
                await asyncio.sleep(1.0)


async def _stream(
    cluster: Cluster, namespace: str, labels: Sequence[str], version: str
) -> AsyncIterator[tuple[Any, Pod]]:
    query = [
        ("labelSelector", ",".join(labels)),
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", version),
        ("timeoutSeconds", str(SPELL)),
    ]
    call = Call("watch", namespace)
    try:
        async with cluster.stream(call, query=query, patience=SILENCE) as response:
            async for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise Answer(call, int(status.get("code") or 500), json.dumps(status)).error()
                yield event["type"], event["object"]
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise unreachable(call, cluster.server, error) from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Give the lines of an answer. What an answer that breaks off has left of one is no event any more."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
    if rest.strip():
        yield rest
