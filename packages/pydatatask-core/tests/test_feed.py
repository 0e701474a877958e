"""What is known of a store's keys stays true while the store is asked and events come in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pydatatask_core import Added, InProcessMetadataRepository, KeyEvent, Removed
from pydatatask_core.pipeline.feed import Feed, Polling
from pydatatask_core.pipeline.readiness import Readiness
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.repository.expression import Leaf
from pydatatask_core.testing import Faults, Hold, faulty, nth
from typing_extensions import override


class Polled(InProcessMetadataRepository):
    """A store that cannot notify."""

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.POLLED


def feed_of(repo: InProcessMetadataRepository, hold: Hold) -> tuple[Feed, Readiness]:
    held = faulty(repo, Faults(nth(0, hold, "contains")))
    readiness = Readiness({"task": Leaf(held)})
    return Feed(readiness, 0, Polling(shortest=1e9, longest=1e9), lambda event: None, lambda: None), readiness


async def told_while_asking(known: bool, event: KeyEvent) -> bool:
    """Ask for a job, let an event come after the store made its answer, and give what is known in the end."""
    repo = Polled({"job": {}} if known else {})
    hold = Hold(after=True)
    feed, readiness = feed_of(repo, hold)
    following = asyncio.ensure_future(feed.run())
    await feed.wait_settled()
    # The store changed, and nobody has announced it yet.
    if known:
        del repo.data["job"]
    else:
        repo.data["job"] = {}
    checking = asyncio.ensure_future(feed.check("job"))
    await hold.reached.wait()
    repo.changes.announce(event)
    hold.release.set()
    await checking
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return readiness.holds(0, "job")


async def test_a_key_that_was_announced_is_not_removed_by_an_older_answer() -> None:
    assert await told_while_asking(known=True, event=Added("job"))


async def test_a_key_that_was_deleted_is_not_added_by_an_older_answer() -> None:
    assert not await told_while_asking(known=False, event=Removed("job"))


class Watched(InProcessMetadataRepository):
    """A store whose watch tells late: of deletions, when one of the keys is there again."""

    told = False

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.WATCHED

    @asynccontextmanager
    async def _late(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        async def events() -> AsyncIterator[KeyEvent]:
            yield Removed("kept")
            yield Removed("gone")
            self.told = True
            await asyncio.Event().wait()

        yield events()

    @override
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[KeyEvent]]:
        return self._late()

    @override
    async def contains(self, job: str, /) -> bool:
        return job == "kept"


async def test_a_watched_removal_is_believed_only_if_contains_denies_the_key() -> None:
    repo = Watched({"kept": {}, "gone": {}})
    readiness = Readiness({"task": Leaf(repo)})
    told = asyncio.Event()
    feed = Feed(readiness, 0, Polling(), lambda event: None, told.set)
    following = asyncio.ensure_future(feed.run())
    async with asyncio.timeout(20):
        while not repo.told or not feed.settled:
            await told.wait()
            told.clear()
            await asyncio.sleep(0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert readiness.holds(0, "kept")
    assert not readiness.holds(0, "gone")
