"""The suites find what they are there to find: each repository here breaks one promise, and its test says so."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import Phase
from pydatatask_core.errors import MalformedValueError, MissingJobError
from pydatatask_core.job import check_job
from pydatatask_core.repository.changes import Added, ChangeSource, KeyEvent, Removed
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import PAGE
from pydatatask_core.repository.value import plain
from pydatatask_core.streams import BlobReader, BlobWriter
from pydatatask_core.testing import BlobRepositoryTests, MetadataRepositoryTests
from typing_extensions import override

Data = InProcessMetadataRepository
Bytes = InProcessBlobRepository


pytestmark = pytest.mark.slow


class DataSuite(MetadataRepositoryTests[Data]):
    versioned = False
    broken = object()

    @override
    async def twin(self, repo: Data) -> Data:
        return type(repo)(repo.data)

    @override
    async def peek(self, repo: Data, job: str) -> Any:
        return repo.data.get(job)

    @override
    async def poke(self, repo: Data, job: str, value: Any) -> None:
        await self.poke_raw(repo, job, value)

    @override
    async def poke_raw(self, repo: Data, key: str, raw: Any) -> None:
        repo.data[key] = raw
        if isinstance(repo, Watched):
            repo.hear(Added(key))

    @override
    async def pluck(self, repo: Data, job: str) -> None:
        del repo.data[job]
        if isinstance(repo, Watched):
            repo.hear(Removed(job))


class BytesSuite(BlobRepositoryTests[Bytes]):
    absent_info = "none"
    versioned = False

    @override
    async def twin(self, repo: Bytes) -> Bytes:
        return type(repo)(repo.data)

    @override
    async def peek(self, repo: Bytes, job: str) -> bytes | None:
        return repo.data.get(job)

    @override
    async def poke(self, repo: Bytes, job: str, value: bytes) -> None:
        repo.data[job] = value

    @override
    async def poke_raw(self, repo: Bytes, key: str, raw: bytes) -> None:
        repo.data[key] = raw


class Watched(Data):
    """A store that tells of what others do to it."""

    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.WATCHED

    def hear(self, event: KeyEvent) -> None:
        if self.is_valid_job_id(getattr(event, "job", "job")):
            self.changes.announce(event)


class WatchedSuite(DataSuite):
    watches = True


@pytest.mark.slow
class TestWatched(WatchedSuite):
    """A watched store in memory, so that the tests of watching are tested here."""

    @pytest.fixture
    async def repo(self) -> Data:
        return Watched()


BROKEN: list[tuple[type[Data | Bytes], str, dict[str, Any]]] = []
R = TypeVar("R", bound=type[Data] | type[Bytes])


def breaks(*tests: str, **arguments: Any) -> Callable[[R], R]:
    """Name the tests that must fail on a repository."""

    def remember(broken: R) -> R:
        BROKEN.extend((broken, test, arguments) for test in tests)
        return broken

    return remember


# keys, listing, membership


@breaks("test_iteration_gives_each_job_once", "test_listing_while_keys_come_and_go_gives_all_others")
class Repeats(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        async for page in super().pages():
            yield [*page, *page[:1]]


@breaks("test_iteration_gives_each_job_once", "test_pages_and_versions_agree_with_iteration")
class LosesTheLastPage(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        async for page in super().pages():
            if len(page) == PAGE:
                yield page


@breaks("test_pages_and_versions_agree_with_iteration")
class ListsAllAtOnce(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        yield list(self.data)


@breaks("test_listing_while_keys_come_and_go_gives_all_others")
class ListsTheLiveDict(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        for job in self.data:
            yield [job]


@breaks("test_foreign_keys_are_skipped_with_one_counted_warning")
class ListsForeignKeys(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        yield list(self.data)


@breaks("test_foreign_keys_are_skipped_with_one_counted_warning")
class WarnsOfEachKey(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        for job in list(self.data):
            if self.is_valid_job_id(job):
                yield [job]
            else:
                logging.getLogger("pydatatask.repository").warning("skipped %r", job)


@breaks("test_foreign_keys_are_skipped_with_one_counted_warning")
class SkipsSilently(Data):
    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        yield [job for job in self.data if self.is_valid_job_id(job)]


@breaks("test_an_invalid_job_id_is_refused_by_every_verb", "test_an_invalid_job_id_is_refused_by_dump", job="a/b")
class TakesAnyJob(Data):
    @override
    async def contains(self, job: str, /) -> bool:
        return job in self.data

    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data[job] = data


@breaks("test_every_legal_job_id_is_a_key_as_it_stands", job="a..b")
class EscapesDots(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        await super().dump(job.replace(".", "_"), data)


@breaks("test_contains_tells_what_is_there")
class ContainsByPrefix(Data):
    @override
    async def contains(self, job: str, /) -> bool:
        return any(key.startswith(job) for key in self.data)


@breaks("test_contains_lists_nothing")
class ContainsByListing(Data):
    @override
    async def contains(self, job: str, /) -> bool:
        return job in [key async for key in self]


@breaks("test_deleting_an_absent_job_is_fine")
class DeletesOnlyWhatIsThere(Data):
    @override
    async def delete(self, job: str, /) -> None:
        del self.data[job]


@breaks("test_delete_removes_the_job_and_nothing_else")
class DeletesByPrefix(Data):
    @override
    async def delete(self, job: str, /) -> None:
        for key in [key for key in self.data if key.startswith(job)]:
            del self.data[key]


@breaks("test_asking_makes_nothing", "test_info_of_an_absent_job_is_as_documented")
class MakesWhatIsAskedFor(Data):
    @override
    async def info(self, job: str, /) -> Any:
        return self.data.setdefault(job, {})


@breaks("test_validate_may_be_called_again_and_keeps_values")
class ValidateClears(Data):
    @override
    async def validate(self) -> None:
        self.data.clear()


@breaks("test_the_location_is_constant", "test_own_changes_are_announced_to_all_objects_of_the_location")
class Moves(Data):
    @property
    @override
    def location(self) -> str:
        return f"{id(self)} {len(self.data)}"


# announcements and watching


@breaks(
    "test_own_writes_are_announced_at_once",
    "test_own_changes_are_announced_to_all_objects_of_the_location",
    "test_watch_tells_of_own_changes",
)
class WritesSilently(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data[check_job(job)] = plain(data, job, self)


@breaks("test_own_deletes_are_announced_at_once")
class DeletesSilently(Data):
    @override
    async def delete(self, job: str, /) -> None:
        self.data.pop(job, None)


@breaks("test_own_writes_are_announced_at_once")
class AnnouncesOnlyNewKeys(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        if job not in self.data:
            self.changes.added(job)
        self.data[job] = data


@breaks("test_own_writes_are_announced_at_once")
class AnnouncesLater(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data[job] = data
        asyncio.get_running_loop().call_soon(self.changes.added, job)


@breaks("test_watch_tells_of_foreign_changes", "test_watch_then_list_misses_nothing")
class SubscribesLate(Watched):
    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[KeyEvent]]:
        async def events() -> AsyncIterator[KeyEvent]:
            async with self.changes.subscription() as late:
                async for event in late:
                    yield event

        yield events()


@breaks("test_watch_tells_of_foreign_changes")
class DeafToDeletes(Watched):
    @override
    def hear(self, event: KeyEvent) -> None:
        if isinstance(event, Added):
            super().hear(event)


@breaks("test_watch_tells_of_a_replaced_value_as_added")
class DeafToReplacing(Watched):
    known: ClassVar[set[str]] = set()

    @override
    def hear(self, event: KeyEvent) -> None:
        if isinstance(event, Added) and event.job not in self.known:
            self.known.add(event.job)
            super().hear(event)


@breaks("test_watch_names_no_key_that_is_no_job_id")
class NamesForeignKeys(Watched):
    @override
    def hear(self, event: KeyEvent) -> None:
        self.changes.announce(event)


@breaks("test_the_change_source_says_what_watch_can_do")
class ClaimsToWatch(Data):
    @property
    @override
    def change_source(self) -> ChangeSource:
        return ChangeSource.WATCHED


# metadata


@breaks(
    "test_the_callers_object_is_neither_kept_nor_changed", "test_tuples_become_lists", "test_what_is_dumped_comes_back"
)
class KeepsTheCallersObject(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data[job] = data
        self.changes.added(job)

    @override
    async def info(self, job: str, /) -> Any:
        return self.data.get(job)


@breaks("test_what_info_gives_belongs_to_the_caller")
class GivesItsOwnObject(Data):
    @override
    async def info(self, job: str, /) -> Any:
        return self.data.get(job)


@breaks("test_datetimes_come_back_aware_in_utc_and_truncated_to_milliseconds", "test_what_is_dumped_comes_back")
class RoundsDatetimes(Data):
    @override
    async def info(self, job: str, /) -> Any:
        def whole(value: Any) -> Any:
            return value.replace(microsecond=0) if isinstance(value, datetime) else value

        found = await super().info(job)
        return [whole(item) for item in found] if isinstance(found, list) else whole(found)


@breaks("test_an_empty_value_is_a_value", data=False)
class TakesFalseForZero(Data):
    @override
    async def info(self, job: str, /) -> Any:
        found = await super().info(job)
        return 0 if found is False else found


@breaks("test_data_that_cannot_be_stored_is_refused_and_the_earlier_value_stays", kind="a set", where="inside")
class ClearsBeforeItChecks(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data.pop(job, None)
        await super().dump(job, data)


@breaks("test_a_broken_value_is_named_and_the_others_are_read")
class DoesNotNameBrokenValues(Data):
    @override
    async def info(self, job: str, /) -> Any:
        try:
            return await super().info(job)
        except MalformedValueError:
            raise MalformedValueError("broken") from None


@breaks("test_a_broken_value_is_named_and_the_others_are_read")
class HidesBrokenValues(Data):
    @override
    async def info(self, job: str, /) -> Any:
        try:
            return await super().info(job)
        except MalformedValueError:
            return None


@breaks(
    "test_a_replaced_value_is_old_or_new_to_readers",
    "test_a_cancelled_dump_leaves_the_old_value_or_the_new",
)
class DeletesBeforeItWrites(Data):
    @override
    async def dump(self, job: str, data: Any, /) -> None:
        self.data.pop(job, None)
        await asyncio.sleep(0)
        await super().dump(job, data)


# blobs


class Writer(BlobWriter):
    """A writer as it should be, to be broken in one place."""

    def __init__(self, repo: Bytes, job: str) -> None:
        self.repo = repo
        self.job = job
        self.data: bytes | None = b""

    @override
    async def write(self, data: bytes, /) -> int:
        if self.data is None:
            raise ValueError("Cannot write to a closed writer.")
        self.data += data
        return len(data)

    @override
    async def close(self) -> None:
        if self.data is not None:
            self.repo.data[self.job] = self.data
            self.repo.changes.added(self.job)
            self.data = None

    @override
    async def abort(self) -> None:
        self.data = None


class Writes(Bytes):
    """A blob repository with a writer of its own."""

    kind: ClassVar[type[Writer]] = Writer

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        return self.kind(self, job)


@pytest.mark.slow
class TestWrites(BytesSuite):
    """The writer, unbroken, is right."""

    bounded_memory = False

    @pytest.fixture
    async def repo(self) -> Bytes:
        return Writes()


@breaks("test_a_writer_publishes_on_a_clean_close_and_at_no_other_time")
class PublishesAtOnce(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def write(self, data: bytes, /) -> int:
            self.repo.data[self.job] = self.repo.data.get(self.job, b"") + data
            return await super().write(data)


@breaks(
    "test_an_exception_discards_and_keeps_the_earlier_value",
    "test_cancellation_discards_and_keeps_the_earlier_value",
    "test_cancellation_at_any_moment_leaves_the_old_value_or_the_new",
    "test_abort_discards_and_may_be_repeated",
    size=10,
)
class PublishesWhenAborted(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def write(self, data: bytes, /) -> int:
            count = await super().write(data[:3])
            await asyncio.sleep(0)
            await super().write(data[3:])
            return count

        @override
        async def abort(self) -> None:
            await self.close()


@breaks("test_an_exception_discards_and_keeps_the_earlier_value", size=10)
class TruncatesWhenOpened(Writes):
    @override
    async def writer(self, job: str, /) -> BlobWriter:
        self.data[job] = b""
        return await super().writer(job)


@breaks("test_a_writer_that_is_never_closed_publishes_nothing")
class PublishesWhenDropped(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        def __del__(self) -> None:
            if self.data is not None:
                self.repo.data[self.job] = self.data


@breaks("test_an_explicit_close_publishes_and_may_be_repeated")
class PublishesAgain(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def close(self) -> None:
            kept = self.data
            await super().close()
            self.data = kept


@breaks("test_a_closed_or_aborted_writer_refuses_to_write")
class TakesMoreAfterClosing(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def write(self, data: bytes, /) -> int:
            return len(data) if self.data is None else await super().write(data)


@breaks("test_a_replaced_value_is_old_or_new_to_readers")
class PublishesInPieces(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def close(self) -> None:
            if self.data is not None:
                half = len(self.data) // 2
                self.repo.data[self.job] = self.data[:half]
                await asyncio.sleep(0)
            await super().close()


@breaks("test_many_writers_at_once_do_not_mix")
class SharesOneBuffer(Writes):
    shared = b""

    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def write(self, data: bytes, /) -> int:
            await asyncio.sleep(0)
            SharesOneBuffer.shared += data
            self.data = SharesOneBuffer.shared
            return len(data)


class Reads(Bytes):
    """A blob repository with a reader that asks the dict anew each time."""

    @override
    async def reader(self, job: str, /) -> BlobReader:
        return LiveReader(self, job)


class LiveReader(BlobReader):
    def __init__(self, repo: Bytes, job: str) -> None:
        self.repo = repo
        self.job = job
        self.at = 0

    @override
    async def read(self, n: int = -1, /) -> bytes:
        await asyncio.sleep(0)
        data = self.repo.data[self.job]
        found = data[self.at :] if n < 0 else data[self.at : self.at + n]
        self.at += len(found)
        return found

    @override
    async def close(self) -> None: ...


@breaks(
    "test_a_replaced_value_is_old_or_new_to_readers",
    "test_a_value_written_while_it_is_read_leaves_the_reader_whole",
    "test_a_closed_reader_refuses_to_read",
)
class ReadsTheLiveValue(Reads): ...


@breaks("test_reading_an_absent_job_is_an_error", mode="rb")
class ReadsAbsentJobsAsEmpty(Bytes):
    @override
    async def reader(self, job: str, /) -> BlobReader:
        try:
            return await super().reader(job)
        except MissingJobError:
            self.data[job] = b""
            return await super().reader(job)


@breaks("test_read_gives_at_most_n_bytes_and_moves_on", "test_read_without_a_number_gives_the_rest")
class ReadsEverything(Bytes):
    @override
    async def reader(self, job: str, /) -> BlobReader:
        class Whole(LiveReader):
            @override
            async def read(self, n: int = -1, /) -> bytes:
                return self.repo.data[self.job]

        return Whole(self, job)


@breaks("test_a_value_of_any_size_takes_bounded_memory")
class HoldsEverything(Bytes): ...


@breaks("test_text_is_utf8_with_untouched_line_ends")
class TranslatesLineEnds(Writes):
    class kind(Writer):  # noqa: N801  # it stands for the attribute
        @override
        async def write(self, data: bytes, /) -> int:
            return await super().write(data.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize(
    ("broken", "test", "arguments"), [pytest.param(*case, id=f"{case[0].__name__}-{case[1]}") for case in BROKEN]
)
async def test_a_broken_promise_is_found(
    broken: type[Data | Bytes], test: str, arguments: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    kind = WatchedSuite if issubclass(broken, Watched) else DataSuite if issubclass(broken, Data) else BytesSuite
    # So many that it is no matter of luck whether a fault of few values is met; the first that shows it ends the test.
    suite = type("Impatient", (kind,), {"deadline": 0.2, "phases": (Phase.generate,), "examples": 2000})()
    method: Callable[..., Awaitable[None]] = getattr(suite, test)
    wanted = inspect.signature(method).parameters
    given = {name: value for name, value in arguments.items() if name in wanted}
    given |= {name: request.getfixturevalue(name) for name in ("caplog", "monkeypatch") if name in wanted}
    with pytest.raises((AssertionError, pytest.fail.Exception, LookupError, RuntimeError, TimeoutError)):
        await method(broken(), **given)
