"""The promises on changes: what is announced in this process, and what a watch tells of others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

from ..repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from .suite import R, Suite, listed

__all__ = ["ChangeTests"]


class ChangeTests(Suite[R]):
    """Part of :class:`RepositoryTests`."""

    async def test_own_writes_are_announced_at_once(self, repo: R) -> None:
        self.need(writable=self.writable, announces=self.announces)
        heard: list[KeyEvent] = []
        with repo.changes.listening(heard.append):
            await self.put(repo, "job", self.values[0])
            assert heard[-1:] == [Added("job")]
            heard.clear()
            await self.put(repo, "job", self.values[1])
            assert heard[-1:] == [Added("job")], "a replaced value was not announced"

    async def test_own_deletes_are_announced_at_once(self, repo: R) -> None:
        self.need(announces=self.announces)
        await self.poke(repo, "job", self.values[0])
        heard: list[KeyEvent] = []
        with repo.changes.listening(heard.append):
            await repo.delete("job")
            assert heard[-1:] == [Removed("job")]

    async def test_own_changes_are_announced_to_all_objects_of_the_location(self, repo: R) -> None:
        self.need(writable=self.writable, announces=self.announces, twins=self.twins)
        twin = await self.twin(repo)
        assert twin is not repo
        assert twin.location == repo.location
        heard: list[KeyEvent] = []
        with twin.changes.listening(heard.append):
            await self.put(repo, "job", self.values[0])
            assert heard[-1:] == [Added("job")]
            await repo.delete("job")
            assert heard[-1:] == [Removed("job")]

    async def test_own_changes_are_announced_across_threads(self, repo: R) -> None:
        self.need(writable=self.writable, announces=self.announces, crosses_loops=self.crosses_loops)
        heard: list[tuple[KeyEvent, int]] = []
        both = asyncio.Event()

        def callback(event: KeyEvent) -> None:
            heard.append((event, threading.get_ident()))
            if event == Removed("job"):
                both.set()

        async def elsewhere() -> None:
            await self.put(repo, "job", self.values[0])
            await repo.delete("job")

        with repo.changes.listening(callback):
            await asyncio.to_thread(asyncio.run, elsewhere())
            async with asyncio.timeout(self.deadline):
                await both.wait()
        assert (Added("job"), threading.get_ident()) in heard

    async def test_nothing_is_heard_after_listening_ended(self, repo: R) -> None:
        self.need(writable=self.writable, announces=self.announces)
        heard: list[KeyEvent] = []
        with repo.changes.listening(heard.append):
            pass
        await self.put(repo, "job", self.values[0])
        assert heard == []

    async def test_watch_tells_of_own_changes(self, repo: R) -> None:
        self.need(writable=self.writable, announces=self.announces)
        async with repo.watch() as events:
            await self.put(repo, "job", self.values[0])
            await self._expect(repo, events, Added("job"))
            await repo.delete("job")
            await self._expect(repo, events, Removed("job"))

    async def test_watch_tells_of_foreign_changes(self, repo: R) -> None:
        self.need(watches=self.watches)
        async with repo.watch() as events:
            await self.poke(repo, "job", self.values[0])
            await self._expect(repo, events, Added("job"))
            await self.pluck(repo, "job")
            await self._expect(repo, events, Removed("job"))

    async def test_watch_tells_of_a_replaced_value_as_added(self, repo: R) -> None:
        self.need(watches=self.watches)
        await self.poke(repo, "job", self.values[0])
        async with repo.watch() as events:
            await self.poke(repo, "job", self.values[1])
            await self._expect(repo, events, Added("job"))

    async def test_two_watches_both_hear_everything(self, repo: R) -> None:
        self.need(watches=self.watches)
        async with repo.watch() as one, repo.watch() as other:
            await self.poke(repo, "job", self.values[0])
            await self._expect(repo, one, Added("job"))
            await self._expect(repo, other, Added("job"))

    async def test_watch_then_list_misses_nothing(self, repo: R) -> None:
        self.need(watches=self.watches)
        before = await self.fill(repo, (f"before{n}" for n in range(50)))
        async with repo.watch() as events:
            writing = asyncio.create_task(self.fill(repo, (f"during{n}" for n in range(200))))
            known = set(await listed(repo))
            wanted = before | await writing
            async with asyncio.timeout(self.deadline):
                while not known >= wanted:
                    event = await anext(events)
                    if isinstance(event, Added):
                        known.add(event.job)
                    else:
                        assert isinstance(event, Resync), f"nothing was deleted, and yet: {event}"
                        known |= set(await listed(repo))
        assert known == wanted

    async def test_the_last_event_about_a_key_is_true(self, repo: R) -> None:
        self.need(watches=self.watches)
        known = await self.fill(repo, ("kept", "gone", "back"))
        async with repo.watch() as events:
            for job in ("gone", "back", "new", "flash"):
                await (self.poke(repo, job, self.values[1]) if job in ("new", "flash") else self.pluck(repo, job))
            await self.poke(repo, "back", self.values[0])
            await repo.delete("flash")
            await repo.delete("new")
            await self.poke(repo, "new", self.values[0])
            await self.poke(repo, "end", self.values[0])
            async with asyncio.timeout(self.deadline):
                while "end" not in known:
                    event = await anext(events)
                    if isinstance(event, Added):
                        known.add(event.job)
                    elif isinstance(event, Removed):
                        known.discard(event.job)
                    else:
                        known = set(await listed(repo))
        assert known == {"kept", "back", "new", "end"}

    async def test_watch_names_no_key_that_is_no_job_id(self, repo: R) -> None:
        self.need(watches=self.watches, foreign_keys=bool(self.foreign_keys))
        async with repo.watch() as events:
            for key in self.foreign_keys:
                await self.poke_raw(repo, key, b"not ours")
            await self.poke(repo, "job", self.values[0])
            async with asyncio.timeout(self.deadline):
                async for event in events:
                    if event == Added("job"):
                        break
                    assert isinstance(event, Resync) or event.job == "job"

    async def test_a_watch_that_is_left_can_be_entered_again(self, repo: R) -> None:
        self.need(watches=self.watches)
        for job in ("one", "two"):
            async with repo.watch() as events:
                await self.poke(repo, job, self.values[0])
                await self._expect(repo, events, Added(job))

    async def test_the_change_source_says_what_watch_can_do(self, repo: R) -> None:
        assert (repo.change_source is ChangeSource.WATCHED) == self.watches

    async def _expect(self, repo: R, events: AsyncIterator[KeyEvent], wanted: Added | Removed) -> None:
        """Wait for one event among others. A Resync will do if a listing then says the same."""
        async with asyncio.timeout(self.deadline):
            async for event in events:
                if event == wanted:
                    return
                if isinstance(event, Resync) and (wanted.job in await listed(repo)) == isinstance(wanted, Added):
                    return
        raise AssertionError(f"the watch ended before it told of {wanted}")
