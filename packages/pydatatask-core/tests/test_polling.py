"""Following stores that cannot notify, or that fail for a while, in simulated time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydatatask_core import (
    Added,
    InProcessMetadataRepository,
    InProcessSyncTask,
    KeyEvent,
    Pipeline,
    RelatedItemRepository,
    Repository,
    Session,
    StoreUnavailableError,
)
from pydatatask_core.pipeline.events import Event, Listed, StoreBack, StoreUnreachable
from pydatatask_core.pipeline.feed import Polling
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.testing import simulate
from typing_extensions import override

DEFAULT = Polling()


class Polled(InProcessMetadataRepository):
    """A store that cannot notify, whose versions are the values themselves."""

    def __init__(self, data: dict[str, Any] | None = None) -> None:
        super().__init__(data)
        self.down = False

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.POLLED

    def _ask(self) -> None:
        if self.down:
            raise StoreUnavailableError("It is down.")

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        self._ask()
        yield list(self.data)

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        self._ask()
        yield [(job, repr(value)) for job, value in self.data.items()]


def followed(
    source: Repository, meanwhile: dict[float, Callable[[], object]], polling: Polling = DEFAULT
) -> tuple[list[str], list[tuple[float, Event]]]:
    """Run a task on what a store holds for an hour, let things happen, and give what it ran on, and what was told."""
    ran: list[str] = []
    told: list[tuple[float, Event]] = []

    async def note(job: str) -> None:
        ran.append(job)

    task = InProcessSyncTask("task", InProcessMetadataRepository(), func=note)
    task.link("source", source, is_input=True)
    pipeline = Pipeline([task], Session())
    pipeline.polling = polling

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for time, what in meanwhile.items():
            loop.call_at(time, what)
        async with pipeline:
            with pytest.raises(TimeoutError):
                await pipeline.run(
                    forever=True, timeout=3600, observers=[lambda event: told.append((loop.time(), event))]
                )

    simulate(main)
    return ran, told


def test_a_translation_that_is_replaced_in_a_polled_store_is_noticed() -> None:
    translations = Polled({"job": "bad"})
    related = RelatedItemRepository(InProcessMetadataRepository({"good": {}}), translations)
    ran, _ = followed(related, {100.0: lambda: translations.data.update(job="good")})
    assert ran == ["job"]


def test_polls_are_frequent_again_when_something_has_changed() -> None:
    store = Polled({"a": {}})
    polling = Polling(shortest=1, longest=64, growth=2, share=1)
    ran, told = followed(store, {1000.0: lambda: store.data.update(b={})}, polling)
    times = [time for time, event in told if isinstance(event, Listed) and event.location == store.location]
    after = next(place for place, time in enumerate(times) if time >= 1000)
    gaps = [times[after + one] - times[after + one - 1] for one in range(4)]
    assert gaps == pytest.approx([64, 1, 2, 4], abs=0.01)
    assert ran == ["a", "b"]


def test_a_store_that_fails_is_asked_ever_more_rarely_and_at_once_again_when_it_fails_anew() -> None:
    store = Polled()
    polling = Polling(shortest=10, longest=10)
    happens: dict[float, Callable[[], object]] = {
        5.0: lambda: setattr(store, "down", True),
        300.0: lambda: setattr(store, "down", False),
        1000.0: lambda: setattr(store, "down", True),
        1005.0: lambda: setattr(store, "down", False),
    }
    _, told = followed(store, happens, polling)
    delays = [event.delay if isinstance(event, StoreUnreachable) else None for _, event in told]
    heard = [
        delay for delay, (_, event) in zip(delays, told, strict=True) if isinstance(event, StoreUnreachable | StoreBack)
    ]
    assert heard == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, None, 1, 2, None]


def test_a_watch_that_breaks_is_told_and_begun_anew() -> None:
    class Breaking(Polled):
        watches = 0

        @property
        @override
        def change_source(self) -> ChangeSource:
            return ChangeSource.WATCHED

        @override
        @asynccontextmanager
        async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
            self.watches += 1
            lasts = self.watches > 1

            async def events() -> AsyncIterator[KeyEvent]:
                await asyncio.sleep(1e9 if lasts else 100)
                if not lasts:
                    raise StoreUnavailableError("The connection is lost.")
                yield Added("a")

            yield events()

    store = Breaking({"a": {}})
    ran, told = followed(store, {50.0: lambda: store.data.update(b={})})
    assert [type(event) for _, event in told if isinstance(event, StoreUnreachable | StoreBack)] == [
        StoreUnreachable,
        StoreBack,
    ]
    assert store.watches == 2
    assert ran == ["a", "b"]
