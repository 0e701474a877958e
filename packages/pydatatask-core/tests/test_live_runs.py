"""Live runs as people see them: as a repository, as records that are kept, as output that is followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydatatask_core import InProcessMetadataRepository
from pydatatask_core.clock import now
from pydatatask_core.errors import SiteUnavailableError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from pydatatask_core.runs.following import FollowingReader
from pydatatask_core.runs.live import LiveRunRepository
from pydatatask_core.runs.site import Phase, RunName, Sighting
from pydatatask_core.streams import BlobReader
from pydatatask_core.task.live import LiveRuns
from pydatatask_core.task.restoring import ROUND, restore
from pydatatask_core.testing import simulate
from shed import Shed, ShedTask
from typing_extensions import override


def live(task: ShedTask, job: str, attempt: int = 1, phase: Phase = Phase.RUNNING, **more: Any) -> Sighting:
    claim = f"{job}.{attempt}"
    return Sighting(run=RunName("task", job, attempt), owner=task.owner, claim=claim, phase=phase, **more)


def scene() -> tuple[Shed, ShedTask, LiveRunRepository]:
    shed = Shed()
    task = ShedTask(shed, InProcessMetadataRepository())
    return shed, task, LiveRunRepository(task, frozenset())


@pytest.mark.parametrize("watched", [False, True])
def test_live_runs_are_those_whose_last_attempt_has_not_ended(watched: bool) -> None:
    shed, task, runs = scene()
    for seen in (
        live(task, "ended", phase=Phase.ENDED, result="failure"),
        live(task, "again", phase=Phase.ENDED, result="failure"),
        live(task, "again", 2, start_time=now(), host="there", identity={"pid": 7}),
        live(task, "claimed", phase=Phase.CLAIMED, reason="the moon is full"),
    ):
        shed.put(seen, silently=True)

    async def main() -> None:
        if watched:
            await task.live_jobs()
            shed.asked.clear()
        assert sorted([job async for job in runs]) == ["again", "claimed"]
        assert [await runs.contains(job) for job in ("again", "claimed", "ended", "absent")] == [
            True,
            True,
            False,
            False,
        ]
        assert await runs.info("claimed") == {"attempt": 1, "waits_for": "the moon is full"}
        again = await runs.info("again")
        assert (again["attempt"], again["host"], again["pid"]) == (2, "there", 7)
        assert await runs.info("ended") == await runs.info("absent") == {}
        assert (await runs.info_all()).keys() == {"again", "claimed"}
        assert bool(shed.asked) != watched, "what is watched is asked, or what is not is not"
        await task.released()

    simulate(main)


def test_deleting_a_live_run_drops_it() -> None:
    shed, task, runs = scene()
    shed.put(live(task, "job"), silently=True)

    async def main() -> None:
        await runs.delete("job")
        await runs.delete("absent")

    simulate(main)
    assert [seen.cancellation for seen in shed.runs.values()] == ["dropped"]


def test_live_runs_are_watched_with_their_site() -> None:
    shed, task, runs = scene()
    shed.put(live(task, "job"), silently=True)

    async def main() -> list[KeyEvent]:
        async with runs.watch() as events:
            shed.put(live(task, "next"))
            shed.put(live(task, "job", phase=Phase.ENDED, result="success"))
            return [await anext(events), await anext(events)]

    assert simulate(main) == [Added("next"), Removed("job")]
    assert len(shed.asked_for("watch")) == 1


def test_a_site_that_cannot_be_watched_is_a_store_that_cannot() -> None:
    shed, _, runs = scene()
    shed.errors["watch"] = [SiteUnavailableError("out of reach")]

    async def main() -> None:
        with pytest.raises(StoreUnavailableError, match="out of reach"):
            async with runs.watch():
                pass

    simulate(main)


def test_deleting_a_record_of_a_live_run_ends_the_run_first() -> None:
    pids = InProcessMetadataRepository({"job": {"pid": 7}})
    there: list[bool] = []

    async def drop(job: str) -> None:
        there.append(job in pids.data)
        if len(there) == 1:
            raise SiteUnavailableError("out of reach")

    async def main() -> None:
        runs = LiveRuns(pids, drop)
        with pytest.raises(SiteUnavailableError):
            await runs.delete("job")
        assert pids.data, "the record of a run that may live is gone"
        await runs.delete("job")

    simulate(main)
    assert (there, pids.data) == ([True, True], {})


class Records(InProcessMetadataRepository):
    """Records whose watch tells of what a test says."""

    def __init__(self, source: ChangeSource) -> None:
        super().__init__()
        self.source = source
        self.events: asyncio.Queue[KeyEvent | Exception] = asyncio.Queue()

    @property
    @override
    def change_source(self) -> ChangeSource:
        return self.source

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        async def events() -> AsyncIterator[KeyEvent]:
            while True:
                event = await self.events.get()
                if isinstance(event, Exception):
                    raise event
                yield event

        yield events()


def restored(records: Records, *events: KeyEvent | Exception, seconds: float) -> list[tuple[str, float]]:
    """Give the jobs whose records were asked for, and when; ``one`` and ``two`` are live."""
    asked: list[tuple[str, float]] = []

    async def again(job: str) -> None:
        asked.append((job, asyncio.get_running_loop().time()))

    async def main() -> None:
        restoring = asyncio.ensure_future(restore(records, lambda: ["one", "two"], again))
        await asyncio.sleep(1)
        for event in events:
            records.events.put_nowait(event)
        await asyncio.sleep(seconds)
        restoring.cancel()
        await asyncio.gather(restoring, return_exceptions=True)

    simulate(main)
    return asked


def test_missing_records_are_looked_for_at_first_and_when_all_must_be_looked_at_again() -> None:
    assert restored(Records(ChangeSource.WATCHED), Resync(), seconds=5) == [
        ("one", 0),
        ("two", 0),
        ("one", 1),
        ("two", 1),
    ]


def test_a_record_that_is_removed_is_asked_for_again_and_one_that_comes_is_not() -> None:
    asked = restored(Records(ChangeSource.WATCHED), Added("one"), Removed("two"), seconds=5)
    assert asked[2:] == [("two", 1)]


def test_records_of_a_store_that_tells_of_nothing_are_looked_at_each_round() -> None:
    asked = restored(Records(ChangeSource.POLLED), seconds=ROUND + 1)
    assert asked == [("one", 0), ("two", 0), ("one", ROUND), ("two", ROUND)]


def test_a_store_of_records_that_fails_is_watched_again(caplog: pytest.LogCaptureFixture) -> None:
    records = Records(ChangeSource.WATCHED)
    asked = restored(records, StoreUnavailableError("out of reach"), seconds=ROUND + 1)
    assert asked[2:] == [("one", 1 + ROUND), ("two", 1 + ROUND)]
    assert "out of reach" in caplog.text


class Growing(BlobReader):
    """Gives one piece after another, and nothing in between."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.closed = False

    @override
    async def read(self, n: int = -1, /) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    @override
    async def close(self) -> None:
        self.closed = True


def test_what_is_written_while_it_is_asked_whether_the_run_is_over_is_read() -> None:
    source = Growing(b"one", b"", b"", b"two", b"")
    looks: list[float] = []

    async def is_over() -> bool:
        looks.append(asyncio.get_running_loop().time())
        return len(looks) >= 2

    async def main() -> None:
        async with FollowingReader(source, is_over) as reader:
            assert await reader.read(100) == b"one"
            assert await reader.read(100) == b"two"
            assert await reader.read(100) == b""

    simulate(main)
    assert source.closed
    assert looks[1] - looks[0] == pytest.approx(0.1)


def test_output_is_followed_to_its_end_and_looked_at_each_second_at_least() -> None:
    source = Growing(b"one", *[b""] * 9, b"two")
    looks: list[float] = []

    async def is_over() -> bool:
        looks.append(asyncio.get_running_loop().time())
        return not source.pieces

    async def main() -> None:
        assert await FollowingReader(source, is_over).read() == b"onetwo"

    simulate(main)
    assert looks[8] - looks[7] == pytest.approx(1)


def test_the_output_of_a_live_run_is_followed_until_it_has_ended() -> None:
    shed, task, _ = scene()
    run = RunName("task", "job", 1)
    shed.put(live(task, "job"), silently=True)
    shed.outputs[run] = b"so far"

    async def main() -> None:
        async with await shed.follow_output(run, "stdout") as reader:
            assert await reader.read(100) == b"so far"
            rest = asyncio.ensure_future(reader.read(100))
            await asyncio.sleep(60)
            assert not rest.done()
            shed.end(run)
            assert await asyncio.wait_for(rest, 2) == b""

    simulate(main)
