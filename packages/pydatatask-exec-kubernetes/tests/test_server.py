"""What a server may do that a cluster cannot be made to do on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientTimeout, web
from kubernetes_asyncio.client.configuration import Configuration
from namespaces import DEADLINE, manifest
from pydatatask_core.errors import (
    SiteCredentialsError,
    SiteFullError,
    SiteUnavailableError,
    TemplateError,
)
from pydatatask_core.runs.site import Gone, Phase, RunName, Sighting, Snapshot
from pydatatask_exec_kubernetes import PodManager
from pydatatask_exec_kubernetes._errors import Call
from pydatatask_exec_kubernetes.manifest import read_manifest
from pydatatask_exec_kubernetes.status import sighting_of
from scripted import bookmark, event, lists, pod, refuses, says, scripted, streams

Told = AsyncIterator[Sighting | Gone | Snapshot]
EXPIRED = event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})


async def following(told: Told, count: int) -> list[Sighting | Snapshot]:
    found: list[Sighting | Snapshot] = []
    async for one in told:
        assert not isinstance(one, Gone)
        found.append(one)
        if len(found) == count:
            break
    return found


def brief(told: list[Sighting | Snapshot]) -> list[tuple[str, ...]]:
    return [
        tuple(sorted(run.run.job for run in one.runs)) if isinstance(one, Snapshot) else (one.run.job, one.phase.value)
        for one in told
    ]


async def test_a_watch_that_ends_goes_on_from_the_last_version_without_a_listing() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10, pod("a", 3)))
        script.on(
            "watch",
            streams(event("ADDED", pod("b", 11)), bookmark(15)),
            streams(event("MODIFIED", pod("b", 16, "Succeeded")), stays=True),
        )

        assert brief(await following(told, 3)) == [("a",), ("b", "running"), ("b", "ended")]

    assert len(script.of("list")) == 1
    assert [query["resourceVersion"] for query in script.of("watch")] == ["10", "15"]
    assert {query["labelSelector"] for query in [*script.of("list"), *script.of("watch")]} == {"pydatatask/app=app"}
    assert all(query["allowWatchBookmarks"] == "true" for query in script.of("watch"))


async def test_frames_may_be_cut_anywhere() -> None:
    stream = event("ADDED", pod("b", 11)) + event("MODIFIED", pod("b", 12, "Succeeded"))
    pieces = [stream[at : at + 100] for at in range(0, len(stream), 100)]
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(*pieces, stays=True))

        assert brief(await following(told, 3)) == [(), ("b", "running"), ("b", "ended")]


async def test_an_event_that_breaks_off_is_told_after_going_on() -> None:
    whole = event("MODIFIED", pod("b", 12, "Succeeded"))
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(event("ADDED", pod("b", 11)), whole[:50]), streams(whole, stays=True))

        assert brief(await following(told, 3)) == [(), ("b", "running"), ("b", "ended")]

    assert [query["resourceVersion"] for query in script.of("watch")] == ["10", "11"]


@pytest.mark.parametrize("gone", [streams(EXPIRED), refuses(410)], ids=["in the stream", "as the answer"])
async def test_a_version_that_is_too_old_is_followed_by_a_new_listing(gone: object) -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10, pod("a", 3)), lists(30, pod("c", 21)))
        script.on("watch", gone, streams(stays=True))  # type: ignore[arg-type]  # parameters of tests are objects

        assert brief(await following(told, 2)) == [("a",), ("c",)]


async def test_a_long_list_comes_in_pages_and_begins_anew_when_one_is_too_old() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on(
            "list",
            lists(10, pod("a", 3), more="next"),
            refuses(410),
            lists(20, pod("b", 4), more="other"),
            lists(20, pod("c", 5)),
        )

        assert brief(await following(told, 1)) == [("b", "c")]

    assert [query.get("continue") for query in script.of("list")] == [None, "next", None, "other"]


async def test_a_watch_that_cannot_go_on_is_unavailable() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(b'{"type": "ADDED'))

        await following(told, 1)
        begun = time.monotonic()
        with pytest.raises(SiteUnavailableError, match="watch pods in namespace space"):
            await following(told, 1)
        assert time.monotonic() - begun > 0.5 + 1 + 2 + 4
    assert len(script.of("watch")) == 5


async def test_a_watch_that_breaks_off_again_and_again_goes_on_as_long_as_it_tells_something() -> None:
    broken = [streams(event("MODIFIED", pod("b", 11 + number)), b'{"type": "ADDED') for number in range(6)]
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", *broken)

        assert len(await following(told, 7)) == 7

    assert len(script.of("list")) == 1


async def test_a_server_that_ends_watches_at_once_is_not_asked_as_fast_as_it_answers() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(), streams(), streams(event("ADDED", pod("b", 11)), stays=True))
        begun = time.monotonic()

        await following(told, 2)

        assert time.monotonic() - begun > 2


async def test_the_last_event_of_a_watch_needs_no_end_of_line() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(event("ADDED", pod("b", 11)).rstrip()), streams(stays=True))

        assert brief(await following(told, 2)) == [(), ("b", "running")]


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with scripted() as (script, manager):
        script.on("get", silent)

        with pytest.raises(SiteUnavailableError, match=r"get pods x in namespace space: the API server .* does not"):
            await manager.cluster.open(Call("get", "space", "x"), patience=ClientTimeout(total=0.2))


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    config = Configuration()
    config.host = "http://cluster.invalid"
    async with scripted() as (script, _):
        script.on("create", says(pod("job", 5), 201))
        monkeypatch.setenv("http_proxy", script.address)
        async with PodManager("app", "space", config) as manager:
            assert await claim(manager) is not None


async def claim(manager: PodManager, job: str = "job") -> Sighting | None:
    spec = read_manifest(manifest("true"), "the manifest", counted=False)
    return await manager.claim(RunName("task", job, 1), "owner", spec)


async def test_what_the_server_puts_off_is_asked_again_when_it_says() -> None:
    async with scripted() as (script, manager):
        script.on("create", refuses(503), refuses(429, Retry_After="3"), says(pod("job", 5, "Pending"), 201))
        begun = time.monotonic()

        claimed = await claim(manager)

        assert time.monotonic() - begun >= 3.5
        assert claimed is not None
        assert claimed.phase is Phase.CLAIMED
        assert len(script.of("create")) == 3


async def test_what_is_put_off_again_and_again_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydatatask_exec_kubernetes._client.LONGEST", 0.01)
    async with scripted() as (script, manager):
        # It does not wait for as long as it is told, either.
        script.on("create", refuses(503, "too busy", Retry_After="3600"))

        with pytest.raises(SiteUnavailableError, match=r"create pods.*answers 503\. too busy"):
            await claim(manager)
        assert len(script.of("create")) == 6


async def test_credentials_that_have_run_out_are_read_anew_once() -> None:
    tokens = iter(["old", "new", "newer"])
    used: list[str] = []

    async def check(request: web.Request) -> web.StreamResponse:
        used.append(request.headers["Authorization"])
        return await (says(pod("job", 5), 201) if good in used[-1] else refuses(401))(request)

    async with scripted() as (script, _):

        def read() -> Configuration:
            config = Configuration()
            config.host = script.address
            config.api_key["BearerToken"] = f"Bearer {next(tokens)}"
            return config

        script.on("create", check)
        async with PodManager("app", "space", read) as other:
            good = "new"
            assert await claim(other) is not None
            assert used == ["Bearer old", "Bearer new"]
            good = "none"
            with pytest.raises(SiteCredentialsError, match="refuses the credentials"):
                await claim(other)
    assert used[2:] == ["Bearer new", "Bearer newer"]


async def test_a_watch_outlasts_credentials_that_have_run_out() -> None:
    async with scripted() as (script, manager), asyncio.timeout(DEADLINE):
        script.on("list", lists(1, pod("job", 1)))
        script.on("watch", refuses(401), streams(event("MODIFIED", pod("job", 2, "Succeeded")), stays=True))
        async with manager.watch() as told:
            assert brief(await following(told, 2)) == [("job",), ("job", "ended")]
        assert len(script.of("list")) == 1


async def test_a_log_that_breaks_off_is_not_taken_for_the_whole() -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half of it")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with scripted() as (script, manager):
        script.on("get", says(pod("job", 5)))
        script.on("log", breaks)
        async with await manager.open_output(RunName("task", "job", 1), "stdout") as log:
            with pytest.raises(SiteUnavailableError, match="get pods/log"):
                await log.read()
        with pytest.raises(ValueError, match="closed"):
            await log.read()


async def test_a_container_that_has_no_log_does_not_hide_those_of_others() -> None:
    several = pod("job", 5)
    several["spec"] |= {"initContainers": [{"name": "first", "image": "image"}]}
    async with scripted() as (script, manager):
        script.on("get", says(several))
        script.on("log", refuses(400, "container first is not available"), streams(b"said\n"))
        async with await manager.open_output(RunName("task", "job", 1), "stdout") as log:
            assert await log.read() == b"==> main <==\nsaid\n"

    assert [query["container"] for query in script.of("log")] == ["first", "main"]


async def test_a_pod_whose_time_is_up_has_ended_when_its_log_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node may tell that its container runs, and for long."""
    monkeypatch.setattr("pydatatask_exec_kubernetes.container_log.PAUSE", 0.01)
    timed_out = pod("job", 5)
    timed_out["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}
    seen = sighting_of(timed_out, "app")
    assert seen is not None
    async with scripted() as (script, manager):
        script.on("get", says(timed_out))
        script.on("log", streams(b"last words\n"), streams())

        ended = await manager.finish(seen)

    assert (ended.result, ended.cause) == ("timeout", "timeout")
    # Only what comes is waited for, not all that was written. One end alone may be that of a connection.
    assert script.of("log") == 3 * [{"container": "main", "follow": "true", "tailLines": "0"}]


@pytest.mark.parametrize("words", ["exceeded quota: few", "status unknown for quota: few, resources: count/pods"])
async def test_a_full_quota_or_one_that_is_not_counted_yet_is_no_refusal_for_ever(words: str) -> None:
    async with scripted() as (script, manager):
        script.on("create", refuses(403, f'pods "x" is forbidden: {words}'))

        with pytest.raises(SiteFullError, match=words):
            await claim(manager)
        assert len(script.of("create")) == 1


async def test_a_manifest_that_the_server_does_not_take_is_told_in_its_words() -> None:
    async with scripted() as (script, manager):
        script.on("create", refuses(422, "spec.containers[0].image: Required value"))

        with pytest.raises(TemplateError, match=r"spec\.containers\[0\]\.image"):
            await claim(manager)


async def test_an_answer_that_comes_late_does_not_undo_what_the_watch_told() -> None:
    async with scripted() as (script, manager), manager.watch() as told:
        script.on("list", lists(10))
        script.on("watch", streams(event("ADDED", pod("job", 12)), stays=True))
        script.on("create", says(pod("job", 11, "Pending"), 201))
        await following(told, 2)

        claimed = await claim(manager)

        assert claimed is not None
        assert claimed.phase is Phase.RUNNING


async def test_creates_are_limited_in_flight() -> None:
    now, most = 0, 0
    full = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 16:
            # Those that should not come have time to.
            asyncio.get_running_loop().call_later(0.2, full.set)
        await full.wait()
        now -= 1
        return web.json_response(pod("x", 5, "Pending"), status=201)

    async with scripted() as (script, manager):
        script.on("create", slow)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(claim(manager, f"job-{number}") for number in range(60)))

    assert most == 16
