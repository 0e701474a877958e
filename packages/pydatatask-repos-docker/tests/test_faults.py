"""Connections that break in the middle of an operation, and a registry that is killed under load and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.repository.changes import KeyEvent, Removed
from pydatatask_core.testing.network import BreakingProxy
from pydatatask_repos_docker import DockerRepository, RegistryClient, repository
from registry import BackDoor, Registry, running

pytestmark = pytest.mark.slow


@pytest.fixture
async def proxy(registry: Registry) -> AsyncIterator[BreakingProxy]:
    host, _, port = registry.domain.partition(":")
    async with BreakingProxy(host, int(port)) as proxy:
        yield proxy


@pytest.fixture
def proxied(client: RegistryClient, proxy: BreakingProxy, name: str) -> DockerRepository:
    return DockerRepository(lambda: client, f"127.0.0.1:{proxy.port}", name)


@pytest.mark.parametrize("nth", range(1, 14))
async def test_a_delete_that_is_cut_leaves_the_job_whole_or_gone_and_can_be_repeated(
    proxied: DockerRepository, proxy: BreakingProxy, back_door: BackDoor, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tag in ("job", "kept"):
        await back_door.push(tag, b"image")
    heard: list[KeyEvent] = []
    with proxied.changes.listening(heard.append):
        proxy.lose_answer(b"HTTP/1.1", nth=nth)
        try:
            await proxied.delete("job")
        except StoreUnavailableError as error:
            cut: StoreUnavailableError | None = error
        else:
            cut = None
        # What aiohttp repeats by itself is no error; what was never asked for cannot be cut.
        assert (heard == []) is (cut is not None)
        proxy.lose_answer(b"nothing has this")
        present = await proxied.contains("job")
        assert sorted([job async for job in proxied]) == (["job", "kept"] if present else ["kept"])
        if present:
            assert await back_door.pull("job") == b"image"
        await proxied.delete("job")
        assert heard[-1] == Removed("job")
    assert not await proxied.contains("job")
    monkeypatch.setattr(repository, "FORGOTTEN", -60)
    await proxied.validate()
    assert await back_door.tags() == ["kept"]
    assert await back_door.pull("kept") == b"image"


async def test_a_listing_that_is_cut_is_an_error_and_never_a_short_listing(
    proxied: DockerRepository, proxy: BreakingProxy, back_door: BackDoor
) -> None:
    await back_door.push_all({f"job{number}" for number in range(50)}, b"image")
    assert len([job async for job in proxied]) == 50
    proxy.down = True
    proxy.kill()
    with pytest.raises(StoreUnavailableError, match="list the tags"):
        [job async for job in proxied]
    proxy.down = False
    assert len([job async for job in proxied]) == 50


async def test_a_registry_that_is_killed_under_load_loses_nothing(name: str) -> None:
    refusals = 0
    done: list[str] = []
    half, refused = asyncio.Event(), asyncio.Event()
    doomed = [f"job{number}" for number in range(60)]

    async def keep_deleting(repo: DockerRepository, todo: list[str]) -> None:
        nonlocal refusals
        # Somebody has to be at it when the registry is killed.
        while todo or not refused.is_set():
            job = todo.pop() if todo else doomed[0]
            while True:
                try:
                    await repo.delete(job)
                    assert not await repo.contains(job)
                except StoreUnavailableError:
                    refusals += 1
                    refused.set()
                    await asyncio.sleep(0.05)
                else:
                    break
            done.append(job)
            if len(done) >= 30:
                half.set()

    async def keep_listing(repo: DockerRepository, load: asyncio.Future[list[None]], kept: set[str]) -> None:
        while not load.done():
            try:
                assert kept <= {job async for job in repo}
            except StoreUnavailableError:
                await asyncio.sleep(0.05)

    with running() as registry:
        async with RegistryClient(tls=False) as client, aiohttp.ClientSession() as http, asyncio.timeout(120):
            back_door = BackDoor(http, registry.domain, name)
            kept = {f"kept{number}" for number in range(10)}
            await back_door.push_all(kept | set(doomed), b"image")
            repo = DockerRepository(lambda: client, registry.domain, name)
            todo = list(doomed)
            load = asyncio.gather(*(keep_deleting(repo, todo) for _ in range(6)))
            looking = asyncio.gather(*(keep_listing(repo, load, kept) for _ in range(2)))
            await half.wait()
            await asyncio.to_thread(registry.kill)
            await refused.wait()
            await asyncio.to_thread(registry.start)
            await load
            await looking
            assert refusals
            assert {job async for job in repo} == kept
            assert await back_door.pull("kept0") == b"image"
