"""Who is shown the credentials: the registry and the token service that it names, and nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from pydatatask_core.errors import (
    PydatataskError,
    StoreCredentialsError,
    StorePermissionError,
    StoreUnavailableError,
)
from pydatatask_repos_docker import DockerRepository, RegistryClient
from pydatatask_repos_docker._auth import Challenge, challenges, token_url
from pydatatask_repos_docker.client import HOSTS, Request
from scripted import TOKEN_PASSWORD, TOKEN_USER, Script, basic, scripted


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


def shown(script: Script) -> set[str]:
    """Give the kinds of credentials that a server was shown."""
    return {header.partition(" ")[0] for header in script.headers}


async def test_the_token_service_that_the_registry_names_is_shown_the_password_wherever_it_is(
    robot: RegistryClient, script: Script
) -> None:
    async with scripted(wants="bearer") as service:
        script.wants, script.accepted = "bearer", service.accepted
        script.realm = f"{service.url}/token"
        assert await repository(robot, script).contains("job")
        assert basic(TOKEN_USER, TOKEN_PASSWORD) in service.headers
        assert shown(script) == {"", "Bearer"}


@pytest.mark.parametrize("registry_wants", ["basic", "bearer"])
@pytest.mark.parametrize("wants", ["basic", "bearer"])
async def test_a_server_that_the_registry_sends_us_on_to_is_not_told_who_we_are(
    robot: RegistryClient, script: Script, registry_wants: str, wants: str
) -> None:
    async with scripted(tags={"job": "sha256:1"}, wants=wants) as stranger:
        script.wants, script.sends_to = registry_wants, stranger.url
        with pytest.raises(StorePermissionError, match="sent us to another server"):
            await repository(robot, script).contains("job")
        assert stranger.asked
        assert shown(stranger) == {""}
        assert stranger.tokens == []


async def test_a_server_that_the_registry_sends_us_on_to_may_answer(robot: RegistryClient, script: Script) -> None:
    async with scripted(tags={"job": "sha256:2"}) as stranger:
        script.wants, script.sends_to = "basic", stranger.url
        assert await repository(robot, script).contains("job")
        assert shown(stranger) == {""}


@pytest.mark.parametrize("registry_wants", ["basic", "bearer"])
@pytest.mark.parametrize("wants", ["", "basic", "bearer"])
async def test_a_server_that_takes_uploads_for_the_registry_is_not_told_who_we_are(
    robot: RegistryClient, script: Script, registry_wants: str, wants: str
) -> None:
    async with scripted(wants=wants) as stranger:
        script.wants = registry_wants
        path = "/v2/team/app/manifests/x"
        own, upload = (
            Request(script.domain, "team/app", "test", "PUT", url, body=b"{}") for url in (path, stranger.url + path)
        )
        # From here on it is known what the registry wants to see for a push.
        assert (await robot.ask(own)).status == 201
        if wants:
            with pytest.raises(StorePermissionError, match="sent us to another server"):
                await robot.ask(upload)
        else:
            assert (await robot.ask(upload)).status == 201
        assert shown(stranger) == {""}
        assert stranger.tokens == []


async def test_where_a_token_service_sends_us_on_to_is_not_told_who_we_are(
    robot: RegistryClient, script: Script
) -> None:
    async with scripted() as stranger:
        stranger.accepted = script.accepted
        script.wants = "bearer"
        script.token_answer = lambda: web.Response(status=307, headers={"Location": f"{stranger.url}/token"})
        # What the token is wanted for is lost on the way, so it is not good for anything.
        with pytest.raises(StorePermissionError):
            await repository(robot, script).contains("job")
        assert shown(stranger) == {""}


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (401, StoreCredentialsError, "refuses the credentials"),
        (403, StorePermissionError, "does not permit"),
        (404, StoreUnavailableError, "token service failed"),
        (405, StoreUnavailableError, "token service failed"),
        (429, StoreUnavailableError, "too many requests"),
        (500, StoreUnavailableError, "token service failed"),
    ],
)
async def test_a_token_service_that_gives_no_token_is_told_apart_from_the_registry(
    robot: RegistryClient, script: Script, status: int, kind: type[PydatataskError], text: str
) -> None:
    script.wants, script.token_answer = "bearer", lambda: web.Response(status=status)
    with pytest.raises(PydatataskError, match=text) as caught:
        await repository(robot, script).contains("job")
    assert type(caught.value) is kind
    assert TOKEN_PASSWORD not in str(caught.value)


@pytest.mark.parametrize("body", ["{}", "[]", '{"token": 5}', "no JSON"])
async def test_an_answer_without_a_token_cannot_be_understood_and_is_not_shown(
    robot: RegistryClient, script: Script, body: str
) -> None:
    script.wants, script.token_answer = "bearer", lambda: web.Response(text=body)
    with pytest.raises(StoreUnavailableError, match="cannot be understood"):
        await repository(robot, script).contains("job")


async def test_a_token_by_its_other_name_and_without_a_lifetime_is_used_for_a_while(
    robot: RegistryClient, script: Script
) -> None:
    script.wants = "bearer"
    scopes = iter(["", "repository:team/app:pull"])

    def answer() -> web.Response:
        token = f"other{len(script.accepted)}"
        script.accepted[token] = next(scopes)
        return web.json_response({"access_token": token})

    script.token_answer = answer
    repo = repository(robot, script)
    for _ in range(3):
        assert await repo.contains("job")
    assert next(scopes, None) is None


async def test_each_right_has_a_token_of_its_own_which_is_kept(robot: RegistryClient, script: Script) -> None:
    script.wants = "bearer"

    async def pull_and_push() -> None:
        assert await repository(robot, script).contains("job")
        push = Request(script.domain, "team/app", "test", "PUT", "/v2/team/app/manifests/x", body=b"{}")
        assert (await robot.ask(push)).status == 201

    await pull_and_push()
    script.asked.clear()
    await pull_and_push()
    assert script.asked == ["HEAD /v2/team/app/manifests/job", "PUT /v2/team/app/manifests/x"]
    assert script.scopes == ["", "repository:team/app:pull", "repository:team/app:pull,push"]


def test_a_challenge_is_read_however_its_names_are_written() -> None:
    header = 'BEARER Realm="https://a/t",SERVICE="b",Scope="repository:c:pull,push"'
    expected = Challenge("bearer", "https://a/t", "b", "repository:c:pull,push")
    assert challenges(["Negotiate", header, 'Basic realm="d"']) == [expected, Challenge("basic", "d", "", "")]


def test_a_token_service_is_asked_for_what_the_registry_says_and_for_nothing_else() -> None:
    full = Challenge("bearer", "https://auth.example.org/token?account=a", "registry", "repository:a/b:pull,push")
    assert token_url(full, tls=True).query == {
        "account": "a",
        "service": "registry",
        "scope": "repository:a/b:pull,push",
    }
    assert str(token_url(Challenge("bearer", "https://auth.example.org/token", "", ""), tls=True)) == (
        "https://auth.example.org/token"
    )
    for realm in ("", "/token", "ftp://auth.example.org/token"):
        with pytest.raises(ValueError, match="no URL"):
            token_url(Challenge("bearer", realm, "", ""), tls=False)


async def test_a_token_service_that_lets_in_nobody_without_a_name_wants_credentials(script: Script) -> None:
    script.wants, script.token_answer = "bearer", lambda: web.Response(status=401)
    async with RegistryClient(tls=False) as nobody:
        with pytest.raises(StoreCredentialsError, match="who is asking"):
            await repository(nobody, script).contains("job")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_registry_that_does_not_even_greet_has_not_said_that_a_tag_is_absent(
    robot: RegistryClient, script: Script, status: int
) -> None:
    script.greeting = status
    with pytest.raises(StoreUnavailableError, match=str(status)):
        await repository(robot, script).contains("absent")
    script.greeting = 200
    assert not await repository(robot, script).contains("absent")


async def test_a_url_that_a_registry_gave_is_asked_for_as_it_stands(robot: RegistryClient, script: Script) -> None:
    path = "/v2/team/app/manifests/x?_state=a%7Eb%2Bc%2F%3D&d=e+f"
    await robot.ask(Request(script.domain, "team/app", "test", "PUT", path, body=b"{}"))
    assert script.asked[-1] == f"PUT {path}"


async def test_a_domain_whose_registry_is_elsewhere_is_asked_there(
    robot: RegistryClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HOSTS["docker.io"] == "registry-1.docker.io"
    monkeypatch.setitem(HOSTS, "hub.example.org", script.domain)
    script.wants = "basic"
    assert await DockerRepository(lambda: robot, "hub.example.org", "team/app").contains("job")
