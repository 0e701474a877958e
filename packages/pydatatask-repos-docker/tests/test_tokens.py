"""A real registry that lets in who comes with a token of its service, and what each user may do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import aiohttp
import pytest
from pydatatask_core.errors import StoreCredentialsError, StorePermissionError, StoreUnavailableError
from pydatatask_repos_docker import DockerRepository, RegistryClient
from registry import BackDoor, Registry, free_port, running
from token_service import LEEWAY, NOBODY, Signer, TokenService, User

pytestmark = pytest.mark.slow

SECRET = "a-secret-that-no-message-may-show"
USERS = {
    "owner": frozenset({"pull", "push", "delete"}),
    "reader": frozenset({"pull"}),
    "writer": frozenset({"pull", "push"}),
    "remover": frozenset({"pull", "delete"}),
    "stranger": frozenset[str](),
}

Verb = Callable[[DockerRepository], Coroutine[Any, Any, object]]


async def jobs(repo: DockerRepository) -> list[str]:
    return sorted([job async for job in repo])


READING: dict[str, Verb] = {
    "validate": lambda repo: repo.validate(),
    "iteration": jobs,
    "contains": lambda repo: repo.contains("job"),
}
VERBS: dict[str, Verb] = {**READING, "delete": lambda repo: repo.delete("job")}


@pytest.fixture(scope="module")
def trusted() -> TokenService:
    return TokenService(free_port())


@pytest.fixture(scope="module")
def guarded(trusted: TokenService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("auth")
    with running(auth=folder, settings=trusted.settings(folder)) as registry:
        yield registry


@pytest.fixture
async def service(trusted: TokenService) -> AsyncIterator[TokenService]:
    """The service that the registry trusts, with its users, and with nobody let in without a name."""
    fresh = TokenService(trusted.port, trusted.signer)
    fresh.users = {name: User(SECRET, actions) for name, actions in USERS.items()}
    async with fresh.serving():
        yield fresh


@pytest.fixture
async def door(service: TokenService, guarded: Registry, name: str) -> AsyncIterator[BackDoor]:
    """A back door to a repository that holds one job."""
    headers = {"Authorization": f"Bearer {service.token_for_all(name)}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        door = BackDoor(http, guarded.domain, name)
        await door.push("job", b"image")
        yield door


def named(user: str, password: str = SECRET) -> RegistryClient:
    return RegistryClient(user, password, tls=False)


async def test_an_owner_pulls_pushes_and_deletes(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    async with named("owner") as client:
        repo = DockerRepository(lambda: client, guarded.domain, name)
        await repo.validate()
        assert await jobs(repo) == ["job"]
        await repo.delete("job")
        assert await jobs(repo) == []
    assert await door.tags() == []
    assert {user for user, _ in service.given} == {"owner"}


async def test_a_reader_asks_for_no_more_than_reading(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    async with named("reader") as client:
        repo = DockerRepository(lambda: client, guarded.domain, name)
        await repo.validate()
        assert await repo.contains("job")
        assert await jobs(repo) == ["job"]
    assert service.given == [("reader", f"repository:{name}:pull")]


@pytest.mark.parametrize("user", ["reader", "writer", "remover"])
async def test_who_may_not_do_all_that_deleting_takes_is_told_so_and_nothing_is_changed(
    service: TokenService, guarded: Registry, door: BackDoor, name: str, user: str
) -> None:
    async with named(user) as client:
        repo = DockerRepository(lambda: client, guarded.domain, name)
        with pytest.raises(StorePermissionError, match="does not permit it") as caught:
            await repo.delete("job")
        assert SECRET not in str(caught.value)
        assert await repo.contains("job")
    assert await door.tags() == ["job"]
    assert await door.pull("job") == b"image"


@pytest.mark.parametrize("verb", VERBS)
async def test_who_has_no_right_is_a_permission_error(
    service: TokenService, guarded: Registry, door: BackDoor, name: str, verb: str
) -> None:
    async with named("stranger") as client:
        with pytest.raises(StorePermissionError):
            await VERBS[verb](DockerRepository(lambda: client, guarded.domain, name))


@pytest.mark.parametrize("verb", VERBS)
async def test_a_wrong_password_is_a_credentials_error(
    service: TokenService, guarded: Registry, door: BackDoor, name: str, verb: str
) -> None:
    async with named("owner", "wrong") as client:
        with pytest.raises(StoreCredentialsError, match="refuses the credentials"):
            await VERBS[verb](DockerRepository(lambda: client, guarded.domain, name))
    assert await door.pull("job") == b"image"


@pytest.mark.parametrize("verb", VERBS)
async def test_a_service_that_lets_in_nobody_without_a_name_wants_credentials(
    service: TokenService, guarded: Registry, door: BackDoor, name: str, verb: str
) -> None:
    async with RegistryClient(tls=False) as client:
        with pytest.raises(StoreCredentialsError, match="who is asking"):
            await VERBS[verb](DockerRepository(lambda: client, guarded.domain, name))


async def test_who_comes_without_a_name_gets_what_everybody_may_do(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    service.users[NOBODY] = User("", frozenset({"pull"}))
    async with RegistryClient(tls=False) as client:
        repo = DockerRepository(lambda: client, guarded.domain, name)
        assert await jobs(repo) == ["job"]
        with pytest.raises(StoreCredentialsError, match="who is asking"):
            await repo.delete("job")
    assert await door.pull("job") == b"image"


async def test_a_token_that_ends_early_is_replaced(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    service.ends = 6.0 - LEEWAY
    async with named("owner") as client, asyncio.timeout(120):
        repo = DockerRepository(lambda: client, guarded.domain, name)
        while len(service.given) < 3:
            assert await repo.contains("job")
        assert await jobs(repo) == ["job"]


async def test_a_token_that_the_registry_does_not_trust_is_the_registrys_fault(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    service.signer = Signer.new()
    async with named("owner") as client:
        for verb in VERBS.values():
            with pytest.raises(StoreUnavailableError, match="does not accept") as caught:
                await verb(DockerRepository(lambda: client, guarded.domain, name))
            assert type(caught.value) is StoreUnavailableError
    assert await door.pull("job") == b"image"


async def test_many_requests_at_once_log_in_on_a_real_registry(
    service: TokenService, guarded: Registry, door: BackDoor, name: str
) -> None:
    await door.push_all({f"job{number}" for number in range(30)}, b"image")
    async with named("owner") as client:
        repo = DockerRepository(lambda: client, guarded.domain, name)
        assert all(await asyncio.gather(*(repo.contains(f"job{number}") for number in range(30))))
        await asyncio.gather(*(repo.delete(f"job{number}") for number in range(30)))
        assert await jobs(repo) == ["job"]
