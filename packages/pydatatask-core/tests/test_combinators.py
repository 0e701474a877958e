"""What and, or, blocking and map promise: membership, listing, infos, deleting, locations, expressions, changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydatatask_core.errors import JobIdError, MissingJobError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, ChangeSource, KeyEvent, Removed, Resync
from pydatatask_core.repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingBlobRepository,
    BlockingMetadataBlobRepository,
    BlockingMetadataRepository,
    BlockingRepository,
    MapRepository,
    RelatedItemRepository,
)
from pydatatask_core.repository.encoded import YamlMetadataBlobRepository, YamlMetadataRepository
from pydatatask_core.repository.expression import And, Filtered, Leaf, Minus, Or
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.testing import Fail, Faults, FaultyMetadataRepository, RepositoryTests, always, faulty, nth
from typing_extensions import override

DEADLINE = 60.0


class YamlShelf(YamlMetadataRepository, InProcessBlobRepository):
    """Values that are data and bytes."""


class Shelf(Repository):
    """What a user writes: three methods and nothing else."""

    def __init__(self, **items: object) -> None:
        self.items = items

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for key in list(self.items):
            yield key

    @override
    async def info(self, job: str, /) -> object:
        return self.items.get(job)

    @override
    async def delete(self, job: str, /) -> None:
        self.items.pop(job, None)


def data(**jobs: Any) -> InProcessMetadataRepository:
    return InProcessMetadataRepository(jobs)


def watched(base: InProcessMetadataRepository, *broken: str) -> tuple[FaultyMetadataRepository, Faults]:
    """Count the operations on a repository, and fail those that begin so."""
    faults = Faults()
    if broken:
        (verb,) = broken
        faults.plan = always(Fail(StoreUnavailableError("the network is down")), verb)
    return faulty(base, faults), faults


async def jobs_of(repo: Repository) -> list[str]:
    found = [job async for job in repo]
    assert found == [job async for job in repo.unfiltered_iter()]
    assert found == [job for page in [page async for page in repo.pages()] for job in page]
    return sorted(found)


async def double(info: Any) -> Any:
    return info * 2


async def not_b(job: str) -> bool:
    await asyncio.sleep(0)
    return job != "b"


# Membership and listing


async def test_and_holds_what_all_children_hold() -> None:
    repo = AggregateAndRepository(one=data(a=1, b=2, c=3), two=data(b=2, c=3, d=4), three=data(c=3, b=2))
    assert await jobs_of(repo) == ["b", "c"]
    assert [await repo.contains(job) for job in "abcd"] == [False, True, True, False]


async def test_and_without_children_holds_nothing() -> None:
    assert await jobs_of(AggregateAndRepository()) == []
    assert not await AggregateAndRepository().contains("a")
    assert await AggregateAndRepository().info_all() == {}


async def test_or_holds_what_any_child_holds_once() -> None:
    repo = AggregateOrRepository(one=data(a=1, b=2), two=data(b=2, c=3), three=data())
    assert await jobs_of(repo) == ["a", "b", "c"]
    assert [await repo.contains(job) for job in "abcd"] == [True, True, True, False]
    assert await jobs_of(AggregateOrRepository()) == []


@pytest.mark.parametrize("enumerate_unless", [True, False])
async def test_blocking_holds_what_the_source_holds_and_unless_does_not(enumerate_unless: bool) -> None:
    repo = BlockingRepository(data(a=1, b=2, c=3), data(b=2, d=4), enumerate_unless)
    assert await jobs_of(repo) == ["a", "c"]
    assert [await repo.contains(job) for job in "abcd"] == [True, False, True, False]


async def test_map_holds_what_the_filter_accepts() -> None:
    repo = data(a=1, b=2, c=3).map(double, not_b)
    assert await jobs_of(repo) == ["a", "c"]
    assert [await repo.contains(job) for job in "abcd"] == [True, False, True, False]
    assert await jobs_of(data(a=1, b=2).map(double)) == ["a", "b"]


async def test_map_asks_the_filter_only_about_jobs_that_are_there() -> None:
    asked: list[str] = []

    async def note(job: str) -> bool:
        asked.append(job)
        return True

    repo = data(a=1).map(double, note)
    assert not await repo.contains("b")
    assert asked == []
    assert await repo.contains("a")
    assert await jobs_of(repo) == ["a"]
    assert set(asked) == {"a"}


async def test_map_gives_the_versions_of_the_jobs_it_holds() -> None:
    class Versioned(InProcessMetadataRepository):
        @override
        async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
            yield [(job, f"v{job}") for job in self.data]

    repo = Versioned({"a": 1, "b": 2, "c": 3}).map(double, not_b)
    assert [page async for page in repo.versions()] == [[("a", "va"), ("c", "vc")]]


async def test_keys_that_are_no_job_ids_are_skipped() -> None:
    one, two = InProcessMetadataRepository({"a": 1, "b c": 2}), Shelf(a=1, **{"b c": 2})
    for repo in (
        AggregateAndRepository(one=one, two=two),
        AggregateOrRepository(one=one, two=two),
        BlockingRepository(two, data()),
        two.map(double),
    ):
        assert await jobs_of(repo) == ["a"]


@pytest.mark.parametrize("job", ["", "a b", "../a", "a/b"])
async def test_an_invalid_job_id_is_refused_by_every_verb(job: str) -> None:
    for repo in (
        AggregateAndRepository(one=Shelf()),
        AggregateAndRepository(),
        AggregateOrRepository(one=Shelf()),
        BlockingRepository(Shelf(), Shelf()),
        Shelf().map(double, allow_deletes=True),
    ):
        for verb in (repo.contains, repo.info, repo.delete):
            with pytest.raises(JobIdError):
                await verb(job)
    for opening in (
        BlockingRepository(InProcessBlobRepository(), data()).open(job),
        BlockingRepository(data(), data()).dump(job, 1),
    ):
        with pytest.raises(JobIdError):
            await opening


# What it costs


async def test_a_listing_is_one_listing_of_each_child_and_no_question_about_single_jobs() -> None:
    jobs = {f"job{n}": n for n in range(50)}
    one, first = watched(InProcessMetadataRepository(dict(jobs)))
    two, second = watched(InProcessMetadataRepository(dict(jobs)))
    for repo in (
        AggregateAndRepository(one=one, two=two),
        AggregateOrRepository(one=one, two=two),
        BlockingRepository(one, two),
    ):
        async for _ in repo.pages():
            pass
        assert set(first.operations) == set(second.operations) == {"list"}
        first.operations.clear()
        second.operations.clear()


async def test_blocking_can_ask_job_by_job_instead_of_listing() -> None:
    unless, faults = watched(data(b=1, **{f"x{n}": n for n in range(100)}))
    async for _ in BlockingRepository(data(a=1, b=2), unless, enumerate_unless=False).pages():
        pass
    assert sorted(faults.operations) == ["contains a", "contains b"]


async def test_contains_asks_no_more_children_than_it_must() -> None:
    child, faults = watched(data(a=1))
    assert not await AggregateAndRepository(one=data(), two=child).contains("a")
    assert await AggregateOrRepository(one=data(a=1), two=child).contains("a")
    assert not await BlockingRepository(data(), child).contains("a")
    assert faults.operations == []


async def test_and_lists_the_other_children_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    class Meeting(InProcessMetadataRepository):
        @override
        async def pages(self) -> AsyncIterator[list[str]]:
            await both.wait()
            async for page in super().pages():
                yield page

    one, two = Meeting({"a": 1, "b": 1}), Meeting({"a": 1})
    async with asyncio.timeout(DEADLINE):
        assert [job async for job in AggregateAndRepository(zero=data(a=1), one=one, two=two)] == ["a"]


# Failures


@pytest.mark.parametrize("place", ["one", "two", "three"])
async def test_a_child_that_fails_never_looks_empty(place: str) -> None:
    children: dict[str, Repository] = {name: data(a=1) for name in ("one", "two", "three")}
    children[place], _ = watched(data(a=1), "")
    for repo in (AggregateAndRepository(**children), AggregateOrRepository(**children)):
        for verb in (jobs_of(repo), repo.info_all(), repo.info("a"), repo.delete("a")):
            with pytest.raises(StoreUnavailableError):
                await verb
    broken, _ = watched(data(a=1), "")
    views: list[Repository] = [
        BlockingRepository(broken, data()),
        BlockingRepository(data(a=1), broken),
        BlockingRepository(data(a=1), broken, enumerate_unless=False),
        broken.map(double, not_b),
    ]
    for view in views:
        for question in (jobs_of(view), view.contains("a")):
            with pytest.raises(StoreUnavailableError):
                await question


async def test_a_listing_that_breaks_off_fails_after_what_it_gave() -> None:
    class Long(InProcessMetadataRepository):
        @override
        async def pages(self) -> AsyncIterator[list[str]]:
            yield ["a"]
            yield ["b"]

    child = faulty(Long({"a": 1, "b": 1}), Faults(nth(1, Fail(StoreUnavailableError("the network is down")), "list")))
    jobs = aiter(AggregateOrRepository(one=child))
    assert await anext(jobs) == "a"
    with pytest.raises(StoreUnavailableError):
        await anext(jobs)


async def test_what_a_filter_raises_is_raised_to_who_asked() -> None:
    async def fail(job: str) -> bool:
        raise ZeroDivisionError(job)

    repo = data(a=1, b=2).map(double, fail)
    for verb in (repo.contains("a"), repo.info_all(), jobs_of(repo)):
        with pytest.raises(ZeroDivisionError):
            await verb


# Infos


async def test_and_info_is_the_info_of_every_child_by_name() -> None:
    repo = AggregateAndRepository(one=data(a=1), two=data(a=2))
    assert await repo.info("a") == {"one": 1, "two": 2}
    assert await repo.info("absent") == {"one": None, "two": None}
    assert await repo.info_all() == {"a": {"one": 1, "two": 2}}


async def test_or_info_is_the_info_of_the_children_that_hold_the_job() -> None:
    missing = YamlMetadataBlobRepository(InProcessBlobRepository())
    repo = AggregateOrRepository(one=data(a=1, b=2), two=data(a=3), three=missing)
    assert await repo.info("a") == {"one": 1, "two": 3}
    assert await repo.info("b") == {"one": 2}
    assert await repo.info("absent") == {}
    assert await repo.info_all() == {"a": {"one": 1, "two": 3}, "b": {"one": 2}}


async def test_and_info_of_a_job_that_a_child_must_hold_is_its_error() -> None:
    missing = YamlMetadataBlobRepository(InProcessBlobRepository())
    with pytest.raises(MissingJobError):
        await AggregateAndRepository(one=data(a=1), two=missing).info("a")


async def test_blocking_info_is_that_of_the_source() -> None:
    repo = BlockingRepository(data(a=1, b=2), data(b=3))
    assert await repo.info("a") == 1
    assert await repo.info("b") == 2
    assert await repo.info_all() == {"a": 1}


async def test_map_info_is_what_the_function_makes_of_the_base_info() -> None:
    repo = data(a=1, b=2, c="x").map(double, not_b)
    assert await repo.info("a") == 2
    assert await repo.info("c") == "xx"
    assert await repo.info_all() == {"a": 2, "c": "xx"}


# Deleting


@pytest.mark.parametrize("kind", [AggregateAndRepository, AggregateOrRepository])
async def test_and_and_or_delete_from_all_children(
    kind: type[AggregateAndRepository] | type[AggregateOrRepository],
) -> None:
    one, two = data(a=1, b=1), data(a=2, c=1)
    await kind(one=one, two=two).delete("a")
    assert (one.data, two.data) == ({"b": 1}, {"c": 1})


async def test_blocking_deletes_from_the_source_alone() -> None:
    source, unless = data(a=1, b=1), data(b=1)
    await BlockingRepository(source, unless).delete("a")
    await BlockingRepository(source, unless).delete("b")
    assert (source.data, unless.data) == ({}, {"b": 1})


async def test_map_deletes_only_if_it_may_and_only_what_it_holds() -> None:
    base = data(a=1, b=2)
    await base.map(double).delete("a")
    assert base.data == {"a": 1, "b": 2}
    await base.map(double, not_b, allow_deletes=True).delete("b")
    assert base.data == {"a": 1, "b": 2}
    await base.map(double, not_b, True).delete("a")
    assert base.data == {"b": 2}
    await base.map(double, allow_deletes=True).delete("absent")
    await base.map(double, allow_deletes=True).delete("b")
    assert base.data == {}


# What they stand on


async def test_equal_compositions_have_one_location_and_others_do_not() -> None:
    one, two = data(), data()
    same_one = InProcessMetadataRepository(one.data)

    async def other(info: Any) -> Any:
        return info

    def compositions(first: Repository, second: Repository) -> list[Repository]:
        return [
            AggregateAndRepository(x=first, y=second),
            AggregateAndRepository(x=second, y=first),
            AggregateOrRepository(x=first, y=second),
            AggregateOrRepository(x=first),
            BlockingRepository(first, second),
            BlockingRepository(second, first),
            RelatedItemRepository(first, second),
            RelatedItemRepository(second, first),
            first.map(double),
            first.map(other),
            first.map(double, not_b),
            AggregateOrRepository(x=first, y=second).map(double),
        ]

    before = [repo.location for repo in compositions(one, two)]
    assert len(set(before)) == len(before)
    assert [repo.location for repo in compositions(same_one, two)] == before
    assert AggregateAndRepository(y=two, x=one).location == before[0]


async def test_the_location_of_a_map_over_a_method_is_that_of_its_object() -> None:
    class Doubler:
        async def double(self, info: Any) -> Any:
            return info * 2

    base, doubler = data(), Doubler()
    assert base.map(doubler.double).location == base.map(doubler.double).location
    assert base.map(doubler.double).location != base.map(Doubler().double).location


def test_expressions_describe_the_children() -> None:
    one, two = data(), data()
    assert AggregateAndRepository(x=one, y=two).expression == And((Leaf(one), Leaf(two)))
    assert AggregateOrRepository(x=one, y=two).expression == Or((Leaf(one), Leaf(two)))
    assert BlockingRepository(one, two).expression == Minus(Leaf(one), Leaf(two))
    assert one.map(double).expression == Leaf(one)
    assert one.map(double, not_b).expression == Filtered(Leaf(one), not_b)
    nested = BlockingRepository(AggregateOrRepository(x=one, y=two).map(double, not_b), two)
    assert nested.expression == Minus(Filtered(Or((Leaf(one), Leaf(two))), not_b), Leaf(two))


def test_resources_are_those_of_all_children() -> None:
    class Live(InProcessMetadataRepository):
        @property
        @override
        def resources(self) -> frozenset[object]:
            return frozenset(self.data.values())

    one, two = Live({"a": "client"}), Live({"b": "bucket"})
    both = frozenset({"client", "bucket"})
    assert AggregateAndRepository(x=one, y=two).resources == both
    assert AggregateOrRepository(x=one, y=two).resources == both
    assert BlockingRepository(one, two).resources == both
    assert one.map(double).resources == frozenset({"client"})
    assert AggregateOrRepository().resources == frozenset()


async def test_validate_validates_the_children() -> None:
    one, first = watched(data())
    two, second = watched(data())
    await BlockingRepository(AggregateOrRepository(one=one), two.map(double)).validate()
    assert first.operations == second.operations == ["validate"]


def test_they_are_polled_because_readiness_asks_their_children() -> None:
    assert AggregateOrRepository(one=data()).change_source is ChangeSource.POLLED


def test_they_name_their_children() -> None:
    shown = repr(AggregateOrRepository(books=data(a=1), notes=data()))
    assert shown.startswith("<AggregateOrRepository books=<InProcessMetadataRepository")
    assert "notes=<" in shown


# Capabilities


def test_blocking_keeps_the_capability_of_its_source() -> None:
    def kind(source: Repository) -> type[Repository]:
        return type(BlockingRepository(source, data()))

    assert kind(Shelf()) is BlockingRepository
    assert kind(data()) is BlockingMetadataRepository
    assert kind(InProcessBlobRepository()) is BlockingBlobRepository
    assert kind(YamlShelf()) is BlockingMetadataBlobRepository
    assert issubclass(BlockingMetadataBlobRepository, BlobRepository)
    assert issubclass(BlockingMetadataBlobRepository, MetadataRepository)
    assert type(BlockingRepository(source=data(), unless=data())) is BlockingMetadataRepository


@pytest.mark.parametrize("kind", [AggregateAndRepository, AggregateOrRepository, MapRepository])
def test_what_changes_infos_keeps_no_capability(kind: type[Repository]) -> None:
    assert not issubclass(kind, BlobRepository | MetadataRepository)


async def test_blocking_reads_and_writes_at_its_source() -> None:
    source = YamlShelf()
    repo = BlockingRepository(source, data(b=1))
    await repo.dump("a", {"x": 1})
    async with await repo.open("b", "w") as sink:
        await sink.write("blocked: no")
    assert await repo.info("b") == {"blocked": False}
    async with await repo.open("a", "rb") as raw:
        assert await raw.read() == b"x: 1\n"
    async with await repo.open("a") as text:
        assert await text.read() == "x: 1\n"
    assert await jobs_of(repo) == ["a"]


# Changes


async def heard(events: AsyncIterator[KeyEvent]) -> KeyEvent:
    async with asyncio.timeout(DEADLINE):
        return await anext(events)


async def test_watch_tells_what_the_children_tell_as_it_looks_from_here() -> None:
    one, two = data(), data()
    async with AggregateAndRepository(x=one, y=two).watch() as both, BlockingRepository(one, two).watch() as minus:
        await one.dump("a", 1)
        assert await heard(both) == Removed("a")
        assert await heard(minus) == Added("a")
        await two.dump("a", 1)
        assert await heard(both) == Added("a")
        assert await heard(minus) == Removed("a")
        one.changes.announce(Resync())
        assert await heard(both) == Resync()


async def test_watch_tells_of_changes_between_entering_and_listing() -> None:
    child = data(a=1)
    repo = child.map(double, not_b)
    async with repo.watch() as events:
        await child.dump("c", 1)
        await child.dump("b", 1)
        assert await jobs_of(repo) == ["a", "c"]
        assert await heard(events) == Added("c")
        assert await heard(events) == Removed("b")


async def test_watch_ends_with_the_error_of_a_child_that_cannot_be_watched_on() -> None:
    child, _ = watched(data(), "event")
    async with AggregateOrRepository(x=data(), y=child).watch() as events:
        with pytest.raises(StoreUnavailableError):
            await heard(events)


async def test_watch_fails_on_entering_if_a_child_does_and_leaves_nothing_behind() -> None:
    one = data()
    child, _ = watched(data(), "watch")
    before = asyncio.all_tasks()
    with pytest.raises(StoreUnavailableError):
        async with AggregateOrRepository(x=one, y=child).watch():
            raise AssertionError("entered")
    assert asyncio.all_tasks() == before
    assert one.changes._listeners == ()


async def test_a_watch_that_is_left_leaves_nothing_behind() -> None:
    one, two = data(), data()
    before = asyncio.all_tasks()
    async with AggregateOrRepository(x=one, y=two).watch() as events:
        await one.dump("a", 1)
        assert await heard(events) == Added("a")
        await two.dump("b", 1)
    assert asyncio.all_tasks() == before
    assert one.changes._listeners == two.changes._listeners == ()


# The promises of every repository


class TestOr(RepositoryTests[AggregateOrRepository]):
    absent_info = "empty"
    versioned = False
    announces = False
    foreign_keys = ()  # each child reports its own
    values = (1, 2)

    @pytest.fixture
    async def repo(self) -> AggregateOrRepository:
        return AggregateOrRepository(one=data(), two=data())

    def child(self, repo: AggregateOrRepository, job: str) -> InProcessMetadataRepository:
        child = repo.children["one" if len(job) % 2 else "two"]
        assert isinstance(child, InProcessMetadataRepository)
        return child

    @override
    async def twin(self, repo: AggregateOrRepository) -> AggregateOrRepository:
        return AggregateOrRepository(**repo.children)

    @override
    async def peek(self, repo: AggregateOrRepository, job: str) -> Any:
        return self.child(repo, job).data.get(job)

    @override
    async def poke(self, repo: AggregateOrRepository, job: str, value: Any) -> None:
        await self.child(repo, job).dump(job, value)

    @override
    async def poke_raw(self, repo: AggregateOrRepository, key: str, raw: Any) -> None:
        self.child(repo, key).data[key] = raw


class TestBlocking(RepositoryTests[BlockingRepository]):
    absent_info = "none"
    versioned = False
    announces = False
    values = (1, 2)

    @pytest.fixture
    async def repo(self) -> BlockingRepository:
        return BlockingRepository(data(), data(blocked=1))

    def source(self, repo: BlockingRepository) -> InProcessMetadataRepository:
        assert isinstance(repo.source, InProcessMetadataRepository)
        return repo.source

    @override
    async def twin(self, repo: BlockingRepository) -> BlockingRepository:
        return BlockingRepository(repo.source, repo.unless)

    @override
    async def peek(self, repo: BlockingRepository, job: str) -> Any:
        return self.source(repo).data.get(job)

    @override
    async def poke(self, repo: BlockingRepository, job: str, value: Any) -> None:
        await self.source(repo).dump(job, value)

    @override
    async def poke_raw(self, repo: BlockingRepository, key: str, raw: Any) -> None:
        self.source(repo).data[key] = raw


class TestMap(RepositoryTests[MapRepository]):
    absent_info = "none"
    versioned = False
    announces = False
    values = (1, 2)

    @staticmethod
    async def same(info: Any) -> Any:
        return info

    @pytest.fixture
    async def repo(self) -> MapRepository:
        return data().map(self.same, allow_deletes=True)

    def base(self, repo: MapRepository) -> InProcessMetadataRepository:
        assert isinstance(repo.base, InProcessMetadataRepository)
        return repo.base

    @override
    async def twin(self, repo: MapRepository) -> MapRepository:
        return repo.base.map(self.same, allow_deletes=True)

    @override
    async def peek(self, repo: MapRepository, job: str) -> Any:
        return self.base(repo).data.get(job)

    @override
    async def poke(self, repo: MapRepository, job: str, value: Any) -> None:
        await self.base(repo).dump(job, value)

    @override
    async def poke_raw(self, repo: MapRepository, key: str, raw: Any) -> None:
        self.base(repo).data[key] = raw
