"""An HTTP server that answers as it is told: what a cluster cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from attrs import define, field
from kubernetes_asyncio.client.configuration import Configuration
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import RunName
from pydatatask_exec_kubernetes import PodManager
from pydatatask_exec_kubernetes.naming import LABELS

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


_KINDS = {"pods": "list", "log": "log", "exec": "exec"}
"""Requests that read, by the last word of the path. Any other is a pod's name."""


@define
class Script:
    """What is asked, and the answers that are left to give to each kind of request."""

    answers: dict[str, list[Answer]] = field(factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(factory=list)
    address: str = ""

    def on(self, kind: str, *answers: Answer) -> None:
        """Answer the next requests of a kind (``list``, ``create``, ``log``, ...) like this, the last one for ever."""
        self.answers.setdefault(kind, []).extend(answers)

    def of(self, kind: str) -> list[dict[str, str]]:
        """Give the parameters of the requests of a kind."""
        return [query for asked, query in self.asked if asked == kind]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}.get(request.method)
        kind = kind or ("watch" if "watch" in request.query else _KINDS.get(request.path.rpartition("/")[2], "get"))
        self.asked.append((kind, dict(request.query)))
        left = self.answers[kind]
        return await (left.pop(0) if len(left) > 1 else left[0])(request)


def says(body: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(
            body, status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    return answer


def refuses(code: int, message: str = "no", **headers: str) -> Answer:
    return says({"kind": "Status", "code": code, "message": message}, code, **headers)


def lists(version: int, *pods: dict[str, Any], more: str = "") -> Answer:
    return says({"items": list(pods), "metadata": {"resourceVersion": str(version), "continue": more}})


def streams(*pieces: bytes, stays: bool = False) -> Answer:
    """Send pieces, each in a packet of its own, and hang up unless the stream is to stay."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.01)
        if stays:
            await asyncio.Event().wait()
        return response

    return answer


def event(kind: str, body: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


def pod(job: str, version: int, phase: str = "Running") -> dict[str, Any]:
    run = RunName("task", job, 1)
    state: dict[str, Any] = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    if phase == "Succeeded":
        state = {
            "terminated": {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
        }
    return {
        "metadata": {
            "name": dns_name("app", run),
            "uid": f"id-{job}",
            "resourceVersion": str(version),
            "labels": LABELS.of("app", run),
        },
        "spec": {"containers": [{"name": "main", "image": "image"}], "nodeName": "node"},
        "status": {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]},
    }


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Script, PodManager]]:
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    config = Configuration()
    script.address = config.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with PodManager("app", "space", config) as manager:
            yield script, manager
    finally:
        await runner.cleanup()
