"""A registry that answers as a test wants: pages, tokens and refusals that a real one does not give on demand."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

TOKEN_USER, TOKEN_PASSWORD = "robot", "a-secret-that-no-message-may-show"


@define
class Script:
    """What it has, and what it does."""

    tags: dict[str, str] = field(factory=dict)
    """Digests by tag."""
    url: str = ""
    asked: list[str] = field(factory=list)
    """Method and path of each request, in order."""
    wants: str = ""
    """``basic`` or ``bearer``; nothing to be open to all."""
    tokens: list[str] = field(factory=list)
    """The tokens given so far."""
    accepted: dict[str, str] = field(factory=dict)
    """The tokens that are good still, each with its scope."""
    lifetime: int = 300
    scopes: list[str] = field(factory=list)
    """What tokens were asked for."""
    grants: bool = True
    """Whether tokens are worth anything."""
    greeting: int = 200
    """What ``/v2/`` is answered with."""
    refusals: dict[str, tuple[int, str]] = field(factory=dict)
    """Status and error code that a method is answered with."""
    deletes_tags: bool = False
    gone: set[str] = field(factory=set)
    """Digests of manifests that were deleted. A tag may name one all the same."""
    manifests: dict[str, bytes] = field(factory=dict)
    """What was put, by digest."""
    halfway: int = 0
    """How many deletions to come fail when the manifest is deleted and its tags are not."""
    link: Callable[[str], str] = lambda rest: f'<{rest}>; rel="next"'
    """How the next page is told."""
    headers: list[str] = field(factory=list)
    """Authorization headers, in order, those that the token service was shown among them."""
    sends_to: str = ""
    """A server that whoever asks for a manifest is sent on to."""
    realm: str = ""
    """The token service, if it is not this server's own."""
    token_answer: Callable[[], web.Response] | None = None
    """What the token service says instead of giving a token."""

    @property
    def domain(self) -> str:
        return self.url.partition("://")[2]

    def authenticated(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "")
        self.headers.append(given)
        if self.wants == "basic":
            return given == basic(TOKEN_USER, TOKEN_PASSWORD)
        return not self.wants or self.accepted.get(given.removeprefix("Bearer ")) == scope_of(request)


def basic(user: str, password: str) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@asynccontextmanager
async def scripted(tls: ssl.SSLContext | None = None, **script: object) -> AsyncIterator[Script]:
    """Serve on the loopback interface during the block."""
    state = Script(**script)  # type: ignore[arg-type]  # the fields are named by the tests
    app = web.Application()

    async def token(request: web.Request) -> web.Response:
        return _token(state, request)

    async def serve(request: web.Request) -> web.Response:
        return _serve(state, request, await request.read())

    app.router.add_route("*", "/token", token)
    app.router.add_route("*", "/{rest:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    state.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield state
    finally:
        await runner.cleanup()


def _token(state: Script, request: web.Request) -> web.Response:
    given = request.headers.get("Authorization", "")
    state.headers.append(given)
    if state.token_answer is not None:
        return state.token_answer()
    if given not in ("", basic(TOKEN_USER, TOKEN_PASSWORD)):
        return web.Response(status=401)
    state.scopes.append(request.query.get("scope", ""))
    token = f"token{len(state.tokens)}"
    state.tokens.append(token)
    if state.grants:
        state.accepted[token] = state.scopes[-1]
    return web.json_response({"token": token, "expires_in": state.lifetime})


def _serve(state: Script, request: web.Request, body: bytes) -> web.Response:
    state.asked.append(f"{request.method} {request.path_qs}")
    if not state.authenticated(request):
        return web.Response(status=401, headers={"WWW-Authenticate": _challenge(state, request)})
    if request.path != "/v2/" and request.method in state.refusals:
        status, code = state.refusals[request.method]
        return web.Response(status=status, text=json.dumps({"errors": [{"code": code}]}))
    if request.path == "/v2/":
        return web.json_response({}, status=state.greeting, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
    if state.sends_to and "/manifests/" in request.path:
        return web.Response(status=307, headers={"Location": state.sends_to + request.path_qs})
    if request.path.endswith("/tags/list"):
        return _list(state, request)
    return _manifest(state, request, body)


def _challenge(state: Script, request: web.Request) -> str:
    if state.wants == "basic":
        return 'Basic realm="test"'
    scope = scope_of(request)
    realm = state.realm or f"{state.url}/token"
    return f'Bearer realm="{realm}",service="test"' + (f',scope="{scope}"' if scope else "")


def scope_of(request: web.Request) -> str:
    """What a token must be good for."""
    right = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "pull,push")
    return "" if request.path == "/v2/" else f"repository:team/app:{right}"


def _list(state: Script, request: web.Request) -> web.Response:
    size, last = int(request.query["n"]), request.query.get("last", "")
    rest = sorted(tag for tag in state.tags if tag > last)
    size = min(size, 400)
    headers = {}
    if len(rest) > size:
        headers["Link"] = state.link(f"{request.path}?n={size}&last={rest[size - 1]}")
    return web.json_response({"name": "team/app", "tags": rest[:size] or None}, headers=headers)


def _manifest(state: Script, request: web.Request, body: bytes) -> web.Response:
    tag = request.path.rpartition("/")[2]
    if request.method == "DELETE":
        return _delete(state, tag)
    if request.method == "PUT":
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        state.tags[tag], state.manifests[digest] = digest, body
        state.gone.discard(digest)
        return web.Response(status=201)
    digest = state.tags.get(tag, "")
    if digest and digest not in state.gone:
        content = state.manifests.get(digest, b"{}")
        if request.method == "GET":
            return web.Response(body=content)
        headers = {"Docker-Content-Digest": digest, "Content-Length": str(len(content))}
        return web.Response(headers=headers)
    return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)


def _delete(state: Script, reference: str) -> web.Response:
    if not reference.startswith("sha256:"):
        gone = state.deletes_tags and state.tags.pop(reference, None) is not None
        return web.Response(status=202 if gone else 400)
    if reference in state.manifests and reference not in state.gone:
        state.gone.add(reference)
        if state.halfway:
            state.halfway -= 1
            return web.Response(status=500)
        state.tags = {tag: digest for tag, digest in state.tags.items() if digest != reference}
        return web.Response(status=202)
    return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
