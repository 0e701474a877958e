"""What is known of a store's keys stays true while the store is asked and events come in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from pydatatask_core import Added, InProcessMetadataRepository, KeyEvent, MalformedValueError, Removed
from pydatatask_core.pipeline.feed import Feed, Polling
from pydatatask_core.pipeline.inquiry import Inquiry, Questions
from pydatatask_core.pipeline.readiness import Readiness
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.repository.expression import Filtered, Leaf
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


class Versioned(Polled):
    """A polled store whose versions are the values themselves, and that was asked for so many of them."""

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        yield [(job, repr(value)) for job, value in self.data.items()]


class Gate:
    """A filter that lets in what is good, and notes whom it was asked about."""

    def __init__(self, repo: Versioned) -> None:
        self.repo = repo
        self.asked: list[str] = []

    async def __call__(self, job: str) -> bool:
        self.asked.append(job)
        return bool(self.repo.data[job] == "good")


async def test_a_value_that_is_replaced_before_its_version_was_known_is_asked_about_again() -> None:
    repo = Versioned({"listed": "good"})
    gate = Gate(repo)
    questions = Questions()
    readiness = Readiness({"task": Filtered(Leaf(repo), gate)}, questions=questions)
    feed = Feed(readiness, 0, Polling(shortest=1e9, longest=1e9), lambda event: None, lambda: None)
    woken = asyncio.Event()
    inquiry = Inquiry(readiness, questions, lambda event: None, woken.set)
    following = asyncio.ensure_future(feed.run())
    await feed.wait_settled()
    readiness.rescan()
    inquiry.open()

    async def answered(*jobs: str) -> None:
        while gate.asked != list(jobs) or inquiry.busy:
            await asyncio.sleep(0)

    async with asyncio.timeout(20):
        await answered("listed")
        await repo.dump("ours", "good")
        await answered("listed", "ours")
        assert readiness.is_ready(0, "ours")
        # By another process, and nobody announces it.
        repo.data["ours"] = "bad"
        await feed.look()
        await answered("listed", "ours", "ours")
        assert not readiness.is_ready(0, "ours")
        # Now that versions are known, what stays as it is costs nothing.
        await feed.look()
        await answered("listed", "ours", "ours")
    await inquiry.close()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_what_could_not_be_decided_is_no_problem_any_more_once_its_job_is_gone() -> None:
    repo = InProcessMetadataRepository({"odd": {}})

    async def refuses(job: str) -> bool:
        raise MalformedValueError(f"{job} cannot be read")

    questions = Questions()
    readiness = Readiness({"task": Filtered(Leaf(repo), refuses)}, questions=questions)
    feed = Feed(readiness, 0, Polling(), lambda event: None, lambda: None)
    inquiry = Inquiry(readiness, questions, lambda event: None, lambda: None)
    following = asyncio.ensure_future(feed.run())
    await feed.wait_settled()
    readiness.rescan()
    inquiry.open()
    async with asyncio.timeout(20):
        while not inquiry.failures:
            await asyncio.sleep(0)
        assert [question.job for question in inquiry.failures] == ["odd"]
        await repo.delete("odd")
        assert not inquiry.failures
    await inquiry.close()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
