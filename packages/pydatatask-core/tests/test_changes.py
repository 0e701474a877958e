"""Channels: one per location, heard on the listener's own loop, from any thread."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from pydatatask_core.repository import changes
from pydatatask_core.repository.changes import Added, Channel, KeyEvent, Removed, Resync, channel_of
from pydatatask_core.repository.memory import InProcessMetadataRepository

DEADLINE = 20.0


def test_a_location_has_one_channel_as_long_as_somebody_holds_it() -> None:
    channel = channel_of("somewhere")
    assert channel_of("somewhere") is channel
    assert channel_of("elsewhere") is not channel


def test_channels_are_not_kept_for_ever() -> None:
    before = len(changes._channels)
    for _ in range(100):
        assert InProcessMetadataRepository().changes is not None
    gc.collect()
    assert len(changes._channels) <= before + 1


def test_announcing_to_nobody_is_fine() -> None:
    channel = Channel("x")
    channel.added("job")
    channel.removed("job")
    channel.announce(Resync())


async def test_listeners_of_this_thread_hear_at_once_and_in_order() -> None:
    channel = Channel("x")
    one: list[KeyEvent] = []
    other: list[KeyEvent] = []
    with channel.listening(one.append):
        channel.added("a")
        with channel.listening(other.append):
            channel.removed("a")
        channel.announce(Resync())
    channel.added("b")
    assert one == [Added("a"), Removed("a"), Resync()]
    assert other == [Removed("a")]


async def test_a_listener_may_leave_while_it_is_called() -> None:
    channel = Channel("x")
    heard: list[KeyEvent] = []

    def leave(event: KeyEvent) -> None:
        listening.__exit__(None, None, None)

    listening = channel.listening(leave)
    listening.__enter__()
    with channel.listening(heard.append):
        channel.added("a")
        channel.added("b")
    assert heard == [Added("a"), Added("b")]


async def test_announcements_of_other_threads_are_heard_on_the_listeners_loop_in_order() -> None:
    channel = Channel("x")
    heard: list[tuple[KeyEvent, int]] = []
    done = asyncio.Event()

    def callback(event: KeyEvent) -> None:
        heard.append((event, threading.get_ident()))
        if event == Resync():
            done.set()

    def announce() -> None:
        for n in range(1000):
            channel.added(f"job{n}")
        channel.announce(Resync())

    with channel.listening(callback):
        await asyncio.to_thread(announce)
        async with asyncio.timeout(DEADLINE):
            await done.wait()
    assert [event for event, _ in heard] == [*(Added(f"job{n}") for n in range(1000)), Resync()]
    assert {thread for _, thread in heard} == {threading.get_ident()}


async def test_nothing_arrives_after_listening_ended_not_even_from_other_threads() -> None:
    channel = Channel("x")
    heard: list[KeyEvent] = []
    with channel.listening(heard.append):
        thread = threading.Thread(target=channel.added, args=("job",))
        thread.start()
        thread.join()
    await asyncio.sleep(0)
    assert heard == []


async def test_a_listener_whose_loop_is_closed_does_not_fail_the_announcement() -> None:
    channel = Channel("x")
    listening = channel.listening(lambda event: None)

    def listen_and_go() -> None:
        async def listen() -> None:
            listening.__enter__()

        asyncio.run(listen())

    await asyncio.to_thread(listen_and_go)
    heard: list[KeyEvent] = []
    with channel.listening(heard.append):
        channel.added("job")
    assert heard == [Added("job")]
    listening.__exit__(None, None, None)


async def test_many_threads_may_listen_and_announce_at_once() -> None:
    channel = Channel("x")
    counts: list[int] = []
    ready = threading.Barrier(5)

    async def listen() -> None:
        heard: list[KeyEvent] = []
        enough = asyncio.Event()

        def callback(event: KeyEvent) -> None:
            heard.append(event)
            if len(heard) == 400:
                enough.set()

        with channel.listening(callback):
            await asyncio.to_thread(ready.wait, DEADLINE)
            async with asyncio.timeout(DEADLINE):
                await enough.wait()
        counts.append(len(heard))

    def announce() -> None:
        ready.wait(DEADLINE)
        for n in range(400):
            channel.added(f"job{n}")

    await asyncio.gather(
        asyncio.to_thread(announce), *(asyncio.to_thread(lambda: asyncio.run(listen())) for _ in range(4))
    )
    assert counts == [400] * 4


async def test_a_subscription_stands_from_its_beginning_and_keeps_everything() -> None:
    channel = Channel("x")
    async with channel.subscription() as events:
        for n in range(10):
            channel.added(f"job{n}")
        async with asyncio.timeout(DEADLINE):
            assert [await anext(events) for _ in range(10)] == [Added(f"job{n}") for n in range(10)]
    assert channel._listeners == ()


async def test_a_subscription_ends_when_its_block_fails() -> None:
    channel = Channel("x")
    with pytest.raises(ZeroDivisionError):
        async with channel.subscription():
            raise ZeroDivisionError
    assert channel._listeners == ()
