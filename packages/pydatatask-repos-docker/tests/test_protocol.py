"""What a registry is asked, and how the client pages, logs in and tells refusals apart."""

from __future__ import annotations

import asyncio
import base64
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from pydatatask_core.errors import (
    ConfigurationError,
    PydatataskError,
    SessionClosedError,
    StoreCredentialsError,
    StoreFullError,
    StorePermissionError,
    StoreUnavailableError,
)
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.session import Session
from pydatatask_repos_docker import DockerRepository, RegistryClient
from registry import PASSWORD, USER, BackDoor, Registry, htpasswd, running
from scripted import TOKEN_PASSWORD, TOKEN_USER, Script, basic, scripted

Verb = Callable[[DockerRepository], Coroutine[Any, Any, object]]


async def jobs(repo: DockerRepository) -> list[str]:
    return [job async for job in repo]


async def versions(repo: DockerRepository) -> dict[str, str]:
    return {job: digest async for page in repo.versions() for job, digest in page}


VERBS: dict[str, Verb] = {
    "validate": lambda repo: repo.validate(),
    "iteration": jobs,
    "versions": versions,
    "contains": lambda repo: repo.contains("job"),
    "delete": lambda repo: repo.delete("job"),
    "info_all": lambda repo: repo.info_all(),
}


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted(tags={"job": "sha256:1"}) as script:
        yield script


@pytest.fixture
async def robot() -> AsyncIterator[RegistryClient]:
    async with RegistryClient(TOKEN_USER, TOKEN_PASSWORD, tls=False) as client:
        yield client


def repository(client: RegistryClient, script: Script) -> DockerRepository:
    return DockerRepository(lambda: client, script.domain, "team/app")


async def test_tags_are_listed_page_by_page(client: RegistryClient, script: Script) -> None:
    script.tags = {f"job{number:04}": "sha256:1" for number in range(1000)}
    repo = repository(client, script)
    pages = [page async for page in repo.pages()]
    assert list(map(len, pages)) == [400, 400, 200]
    assert sorted(job for page in pages for job in page) == sorted(script.tags)
    lists = [asked for asked in script.asked if "tags/list" in asked]
    assert lists == [
        "GET /v2/team/app/tags/list?n=1000",
        "GET /v2/team/app/tags/list?n=400&last=job0399",
        "GET /v2/team/app/tags/list?n=400&last=job0799",
    ]


@pytest.mark.parametrize("absolute", [True, False])
async def test_a_next_page_may_be_told_as_path_or_as_url(
    client: RegistryClient, script: Script, absolute: bool
) -> None:
    script.tags = {f"job{number:04}": "sha256:1" for number in range(500)}
    script.link = lambda rest: f'<{script.url if absolute else ""}{rest}>; rel="next"'
    assert len(await jobs(repository(client, script))) == 500


async def test_a_next_page_on_another_host_is_asked_of_this_registry(robot: RegistryClient, script: Script) -> None:
    async with scripted(wants="basic") as stranger:
        script.wants = "basic"
        script.tags = {f"job{number:04}": "sha256:1" for number in range(500)}
        script.link = lambda rest: f'<{stranger.url}{rest}>; rel="next"'
        assert len(await jobs(repository(robot, script))) == 500
        assert stranger.asked == []


async def test_a_listing_that_goes_round_is_an_error(client: RegistryClient, script: Script) -> None:
    script.tags = {f"job{number:04}": "sha256:1" for number in range(500)}
    script.link = lambda rest: '</v2/team/app/tags/list?n=1000>; rel="next"'
    with pytest.raises(StoreUnavailableError, match="again and again"):
        await jobs(repository(client, script))


async def test_contains_is_one_head(client: RegistryClient, script: Script) -> None:
    repo = repository(client, script)
    assert await repo.contains("job")
    script.asked.clear()
    assert await repo.contains("job")
    assert not await repo.contains("other")
    assert script.asked == ["HEAD /v2/team/app/manifests/job", "HEAD /v2/team/app/manifests/other"]


async def test_versions_are_digests(client: RegistryClient, script: Script) -> None:
    script.tags = {"a": "sha256:1", "b": "sha256:2"}
    assert await versions(repository(client, script)) == script.tags


async def test_a_registry_that_deletes_tags_is_asked_for_just_that(client: RegistryClient, script: Script) -> None:
    script.deletes_tags = True
    script.tags = {"job": "sha256:1", "other": "sha256:1"}
    await repository(client, script).delete("job")
    assert script.tags == {"other": "sha256:1"}
    assert script.asked[1:] == ["HEAD /v2/team/app/manifests/job", "DELETE /v2/team/app/manifests/job"]


@pytest.mark.parametrize("halfway", [0, 1, 2, 3])
async def test_a_registry_that_deletes_by_halves_is_left_without_the_tag(
    client: RegistryClient, script: Script, halfway: int
) -> None:
    script.tags = {"job": "sha256:1", "other": "sha256:1"}
    script.halfway = halfway
    await repository(client, script).delete("job")
    assert script.tags == {"other": "sha256:1"}


async def test_a_tag_that_was_left_behind_is_hidden_and_removed_later(
    client: RegistryClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.tags = {"job": "sha256:1", "other": "sha256:1"}
    script.halfway = 1000
    repo = repository(client, script)
    with pytest.raises(StoreUnavailableError, match="the registry failed"):
        await repo.delete("job")
    assert {"job", "other"} < script.tags.keys()
    assert not await repo.contains("job")
    assert await jobs(repo) == ["other"]
    script.halfway = 0
    monkeypatch.setattr("pydatatask_repos_docker.repository.FORGOTTEN", -60)
    await repo.validate()
    assert script.tags == {"other": "sha256:1"}


async def test_a_token_is_fetched_once_and_used_until_it_ends(robot: RegistryClient, script: Script) -> None:
    script.wants = "bearer"
    repo = repository(robot, script)
    for _ in range(3):
        assert await repo.contains("job")
    assert script.scopes == ["", "repository:team/app:pull"]
    assert len([asked for asked in script.asked if "manifests" in asked]) == 4, "one refused, then three with a token"
    script.accepted.clear()
    assert await repo.contains("job"), "a token that is refused is replaced"
    assert len(script.tokens) == 3


async def test_a_token_that_is_about_to_end_is_not_used_again(robot: RegistryClient, script: Script) -> None:
    script.wants, script.lifetime = "bearer", 5
    repo = repository(robot, script)
    for _ in range(3):
        assert await repo.contains("job")
    assert len(script.tokens) == 4
    assert len([asked for asked in script.asked if "manifests" in asked]) == 4


async def test_tokens_are_given_to_those_without_a_name_too(client: RegistryClient, script: Script) -> None:
    script.wants = "bearer"
    assert await repository(client, script).contains("job")


async def test_many_requests_at_once_log_in(robot: RegistryClient, script: Script) -> None:
    script.wants = "bearer"
    repo = repository(robot, script)
    assert all(await asyncio.gather(*(repo.contains("job") for _ in range(20))))


async def refused(client: RegistryClient, script: Script, verb: str) -> PydatataskError:
    with pytest.raises(PydatataskError) as caught:
        await VERBS[verb](repository(client, script))
    assert f"{script.domain}/team/app" in str(caught.value)
    assert TOKEN_PASSWORD not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("wants", ["basic", "bearer"])
async def test_wrong_credentials_are_a_credentials_error(script: Script, wants: str, verb: str) -> None:
    script.wants = wants
    async with RegistryClient("robot", "wrong", tls=False) as client:
        error = await refused(client, script, verb)
    assert type(error) is StoreCredentialsError
    assert "refuses the credentials" in str(error)


@pytest.mark.parametrize("verb", VERBS)
async def test_no_credentials_where_some_are_wanted_is_a_credentials_error(
    client: RegistryClient, script: Script, verb: str
) -> None:
    script.wants = "basic"
    error = await refused(client, script, verb)
    assert type(error) is StoreCredentialsError
    assert "who is asking" in str(error)


@pytest.mark.parametrize("verb", VERBS)
async def test_a_token_without_the_right_is_a_permission_error(
    robot: RegistryClient, script: Script, verb: str
) -> None:
    script.wants, script.grants = "bearer", False
    assert type(await refused(robot, script, verb)) is StorePermissionError


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (403, "DENIED", StorePermissionError, "permitted"),
        (404, "WHATEVER", LookupError, "404 WHATEVER"),
        (429, "TOOMANYREQUESTS", StoreUnavailableError, "too many requests"),
        (500, "UNKNOWN", StoreUnavailableError, "500 UNKNOWN"),
        (503, "UNAVAILABLE", StoreUnavailableError, "Try again"),
        (507, "", StoreFullError, "no room"),
    ],
)
async def test_refusals_are_told_apart(
    client: RegistryClient, script: Script, status: int, code: str, kind: type[Exception], text: str
) -> None:
    script.refusals = {"GET": (status, code)}
    error = await refused(client, script, "iteration")
    assert isinstance(error, kind)
    assert text in str(error)


@pytest.mark.parametrize("code", ["NAME_UNKNOWN", "NOT_FOUND"])
async def test_a_repository_that_nothing_was_pushed_to_is_empty(
    client: RegistryClient, script: Script, code: str
) -> None:
    script.refusals = {"GET": (404, code)}
    assert await jobs(repository(client, script)) == []


@pytest.mark.parametrize("verb", VERBS)
async def test_an_unreachable_registry_is_an_unavailable_store(
    client: RegistryClient, unused_tcp_port: int, verb: str
) -> None:
    repo = DockerRepository(lambda: client, f"localhost:{unused_tcp_port}", "team/app")
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        await VERBS[verb](repo)
    assert str(unused_tcp_port) in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_a_registry_that_is_silent_does_not_hold_us_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(60), RegistryClient(tls=False, timeout=0.2) as client:
            repo = DockerRepository(lambda: client, f"127.0.0.1:{silent.getsockname()[1]}", "team/app")
            with pytest.raises(StoreUnavailableError, match="does not answer"):
                await repo.contains("job")


async def test_tls_is_on_unless_said_otherwise(script: Script) -> None:
    async with RegistryClient() as client:
        with pytest.raises(StoreUnavailableError, match="tls=False"):
            await repository(client, script).contains("job")
    assert script.asked == []


async def test_a_password_is_not_sent_to_a_token_service_without_tls() -> None:
    from pydatatask_repos_docker._auth import Challenge, token_url

    challenge = Challenge("bearer", "http://auth.example.org/token", "registry", "repository:a:pull")
    with pytest.raises(ValueError, match="without TLS"):
        token_url(challenge, tls=True)
    assert token_url(challenge, tls=False).host == "auth.example.org"


async def test_a_web_server_is_not_taken_for_an_empty_registry(client: RegistryClient) -> None:
    from aiohttp import web

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html", status=status)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    repo = DockerRepository(lambda: client, f"127.0.0.1:{runner.addresses[0][1]}", "team/app")
    for status in (200, 404):  # noqa: B007  # the page is shown with it
        for verb in VERBS.values():
            with pytest.raises(StoreUnavailableError, match="no registry"):
                await verb(repo)
    await runner.cleanup()


async def test_a_closed_session_is_named() -> None:
    session = Session()

    @session.resource
    async def hub() -> AsyncIterator[RegistryClient]:
        async with RegistryClient() as client:
            yield client

    repo = DockerRepository(hub, "localhost:1", "team/app")
    for verb in VERBS.values():
        with pytest.raises(SessionClosedError, match="hub"):
            await verb(repo)
    with pytest.raises(SessionClosedError, match="async with"):
        await DockerRepository(RegistryClient, "localhost:1", "team/app").contains("job")


@pytest.mark.parametrize(
    "credentials",
    [
        {"registry": basic(TOKEN_USER, TOKEN_PASSWORD).removeprefix("Basic ")},
        {"registry": f"{TOKEN_USER}:{TOKEN_PASSWORD}"},
        {"registry": (TOKEN_USER, TOKEN_PASSWORD)},
        {"https://registry/v1/": (TOKEN_USER, TOKEN_PASSWORD)},
    ],
    ids=["base64", "text", "pair", "url"],
)
def test_a_client_of_earlier_releases_is_asked_for_its_credentials(credentials: dict[str, Any]) -> None:
    from pydatatask_repos_docker.legacy import _Knowing

    known = _Knowing(credentials).credentials_for("registry")
    assert known is not None
    assert known.header == basic(TOKEN_USER, TOKEN_PASSWORD)
    assert _Knowing(credentials).credentials_for("another") is None


async def test_a_client_of_earlier_releases_works_with_tls(script: Script) -> None:
    old = SimpleNamespace(credentials={script.domain: base64.b64encode(b"a:b").decode()})
    repo = DockerRepository(lambda: old, script.domain, "team/app")
    with pytest.raises(StoreUnavailableError, match="no safe connection"):
        await repo.contains("job")
    with pytest.raises(ConfigurationError, match="RegistryClient"):
        await DockerRepository(object, script.domain, "team/app").contains("job")  # type: ignore[arg-type]  # wrong


def test_what_cannot_be_a_repository_is_refused() -> None:
    for domain in ("https://registry.example.org", "registry/path", "", "a b", "user:pw@host"):
        with pytest.raises(ConfigurationError, match="no domain"):
            DockerRepository(RegistryClient, domain, "app")
    for name in ("Team/app", "app:tag", "/app", "app/", "", "../app"):
        with pytest.raises(ConfigurationError, match="no repository"):
            DockerRepository(RegistryClient, "localhost:5000", name)
    with pytest.raises(ConfigurationError, match="both"):
        RegistryClient("user")


async def test_names_are_given_with_and_without_domain() -> None:
    repo = DockerRepository(RegistryClient, "registry.example.org:5000", "team/app")
    assert await repo.info("job-1.2") == {
        "withdomain": "registry.example.org:5000/team/app:job-1.2",
        "withoutdomain": "team/app:job-1.2",
    }
    assert repo.location == "docker:registry.example.org:5000/team/app"
    assert repo.change_source is ChangeSource.POLLED
    assert repo.resources == {RegistryClient}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("auth")
    with running(auth=folder, settings=htpasswd(folder)) as registry:
        yield registry


@pytest.mark.slow
async def test_basic_authentication_against_a_real_registry(strict: Registry, name: str) -> None:
    import aiohttp

    async with (
        RegistryClient(USER, PASSWORD, tls=False) as right,
        RegistryClient(USER, "wrong", tls=False) as wrong,
        RegistryClient(tls=False) as nobody,
        aiohttp.ClientSession(headers={"Authorization": basic(USER, PASSWORD)}) as http,
    ):
        await BackDoor(http, strict.domain, name).push("job", b"image")
        repo = DockerRepository(lambda: right, strict.domain, name)
        assert await jobs(repo) == ["job"]
        await repo.delete("job")
        assert await jobs(repo) == []
        for client, text in ((wrong, "refuses the credentials"), (nobody, "who is asking")):
            for verb in VERBS.values():
                with pytest.raises(StoreCredentialsError, match=text):
                    await verb(DockerRepository(lambda client=client: client, strict.domain, name))  # type: ignore[misc]  # bound now
