"""What a related repository promises: jobs of one repository, with what another holds for the jobs they stand for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import frozen
from pydatatask_core.errors import JobIdError, MalformedValueError, MissingJobError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed, Resync
from pydatatask_core.repository.combinators import (
    RelatedBlobRepository,
    RelatedItemRepository,
    RelatedMetadataBlobRepository,
    RelatedMetadataRepository,
)
from pydatatask_core.repository.encoded import YamlMetadataBlobRepository, YamlMetadataRepository
from pydatatask_core.repository.expression import Leaf, Related
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.testing import Fail, Faults, RepositoryTests, always, faulty
from typing_extensions import override

DEADLINE = 60.0
PREFETCH = pytest.mark.parametrize("prefetch", [True, False])


class YamlShelf(YamlMetadataRepository, InProcessBlobRepository):
    """Values that are data and bytes."""


class Paths(Repository):
    """Tells where a job's value is or would be, as files and buckets do."""

    def __init__(self, *jobs: str) -> None:
        self.jobs = jobs

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for job in self.jobs:
            yield job

    @override
    async def info(self, job: str, /) -> str:
        return f"base-{job}"

    @override
    async def delete(self, job: str, /) -> None:
        raise AssertionError(job)


@frozen
class Name:
    """Something whose text is a job."""

    text: str

    @override
    def __str__(self) -> str:
        return self.text


def data(**jobs: Any) -> InProcessMetadataRepository:
    return InProcessMetadataRepository(jobs)


async def jobs_of(repo: Repository) -> list[str]:
    return sorted([job async for job in repo])


@PREFETCH
async def test_a_job_is_there_if_its_translation_is_in_the_base(prefetch: bool) -> None:
    translator = data(a="x", b="y", c="absent", d="x", e=7, f=None, g={}, h="no job id", i="", j=["x"])
    repo = RelatedItemRepository(data(x=1, y=2, e=3, **{"7": 4, "None": 5}), translator, prefetch_lookup=prefetch)
    assert await jobs_of(repo) == ["a", "b", "d", "e"]
    assert [job for job in "abcdefghijx" if await repo.contains(job)] == ["a", "b", "d", "e"]
    assert await repo.info_all() == {"a": 1, "b": 2, "d": 1, "e": 4}


@PREFETCH
async def test_a_translation_is_the_text_of_the_info(prefetch: bool) -> None:
    async def named(info: Any) -> Name:
        return Name(info["for"])

    repo = RelatedItemRepository(data(x=1), data(a={"for": "x"}).map(named), False, prefetch)
    assert await jobs_of(repo) == ["a"]
    assert await repo.info("a") == 1


@PREFETCH
async def test_a_translator_may_raise_for_what_it_does_not_hold(prefetch: bool) -> None:
    translator = YamlMetadataBlobRepository(InProcessBlobRepository({"a": b"x", "b": b""}))
    repo = RelatedItemRepository(data(x=1), translator, prefetch_lookup=prefetch)
    assert await jobs_of(repo) == ["a"]
    assert not await repo.contains("absent")
    with pytest.raises(MissingJobError):
        await repo.info("absent")


@PREFETCH
async def test_a_job_that_the_translator_does_not_hold_is_absent_whatever_its_info_says(prefetch: bool) -> None:
    base = data(**{"base-a": 1, "base-b": 2})
    repo = RelatedItemRepository(base, Paths("a"), prefetch_lookup=prefetch)
    assert await jobs_of(repo) == ["a"]
    assert await repo.contains("a")
    assert not await repo.contains("b")


@pytest.mark.parametrize("translation", [None, {}, "no job id", ""])
async def test_every_verb_that_needs_a_translation_raises_without_one(translation: Any) -> None:
    base = YamlShelf()
    translator = data(a=translation)
    repo = RelatedItemRepository(base, translator, allow_deletes=True)
    for verb in (repo.info("a"), repo.dump("a", 1), repo.open("a"), repo.open("a", "wb"), repo.info("absent")):
        with pytest.raises(MissingJobError, match="names no job for it") as caught:
            await verb
        assert isinstance(caught.value, LookupError)
        assert repr(translator) in str(caught.value)
    await repo.delete("a")
    assert base.data == {}


async def test_info_of_a_translated_job_is_what_the_base_gives_for_it() -> None:
    assert await RelatedItemRepository(data(), data(a="x")).info("a") is None
    with pytest.raises(MissingJobError, match="'x'"):
        await RelatedItemRepository(YamlShelf(), data(a="x")).info("a")


@pytest.mark.parametrize("job", ["", "a b", "../a"])
async def test_an_invalid_job_id_is_refused_by_every_verb(job: str) -> None:
    repo = RelatedItemRepository(YamlShelf(), Paths(), allow_deletes=True)
    for verb in (repo.info(job), repo.contains(job), repo.delete(job), repo.dump(job, 1), repo.open(job, "rb")):
        with pytest.raises(JobIdError):
            await verb


async def test_delete_does_nothing_unless_allowed() -> None:
    base, translator = data(x=1, y=2), data(a="x", b="y")
    await RelatedItemRepository(base, translator).delete("a")
    assert base.data == {"x": 1, "y": 2}
    await RelatedItemRepository(base, translator, True).delete("a")
    assert base.data == {"y": 2}
    assert translator.data == {"a": "x", "b": "y"}


@PREFETCH
async def test_a_listing_asks_the_base_once_and_for_no_single_job(prefetch: bool) -> None:
    base, translator = Faults(), Faults()
    repo = RelatedItemRepository(
        faulty(data(x=1, y=2), base), faulty(data(a="x", b="y"), translator), prefetch_lookup=prefetch
    )
    assert await jobs_of(repo) == ["a", "b"]
    assert set(base.operations) == {"list"}
    if prefetch:
        assert translator.operations == ["info_all"]
    else:
        assert sorted(set(translator.operations)) == ["info a", "info b", "list"]


@PREFETCH
async def test_a_child_that_fails_never_looks_empty(prefetch: bool) -> None:
    broken = faulty(data(a="x", x=1), Faults(always(Fail(StoreUnavailableError("the network is down")))))
    for repo in (
        RelatedItemRepository(broken, data(a="x"), prefetch_lookup=prefetch),
        RelatedItemRepository(data(x=1), broken, prefetch_lookup=prefetch),
    ):
        for verb in (jobs_of(repo), repo.contains("a"), repo.info("a"), repo.info_all(), repo.dump("a", 1)):
            with pytest.raises(StoreUnavailableError):
                await verb


@PREFETCH
async def test_a_broken_translation_is_named_and_the_others_are_translated(prefetch: bool) -> None:
    translator = YamlMetadataBlobRepository(InProcessBlobRepository({"good": b"x", "bad": b"{"}))
    repo = RelatedItemRepository(data(x=1), translator, prefetch_lookup=prefetch)
    assert await repo.contains("good")
    assert await repo.info("good") == 1
    for verb in (repo.contains("bad"), repo.info("bad"), jobs_of(repo)):
        with pytest.raises(MalformedValueError, match="'bad'"):
            await verb


async def test_info_all_leaves_out_a_job_that_is_deleted_meanwhile() -> None:
    class Vanishing(YamlShelf):
        @override
        async def pages(self) -> AsyncIterator[list[str]]:
            async for page in super().pages():
                yield page
            self.data.pop("y")

    repo = RelatedItemRepository(Vanishing({"x": b"1", "y": b"2"}), data(a="x", b="y"))
    assert await repo.info_all() == {"a": 1}


async def test_the_expression_translates_as_the_repository_does() -> None:
    base, translator = data(x=1), YamlMetadataBlobRepository(InProcessBlobRepository({"a": b"x", "b": b"{}"}))
    expression = RelatedItemRepository(base, translator).expression
    assert isinstance(expression, Related)
    assert expression.base == Leaf(base)
    assert expression.translation.keys == translator.expression
    assert [await expression.translation.translate(job) for job in ("a", "b", "absent")] == ["x", None, None]


async def test_translations_are_equal_if_they_ask_one_translator_alike() -> None:
    async def first(info: Any) -> Any:
        return info["first"]

    async def second(info: Any) -> Any:
        return info["second"]

    def expression(translator: Repository) -> Related:
        found = RelatedItemRepository(base, translator).expression
        assert isinstance(found, Related)
        return found

    base, links = data(), data()
    same_links = InProcessMetadataRepository(links.data)
    assert expression(links) == expression(same_links)
    assert hash(expression(links)) == hash(expression(same_links))
    assert expression(links.map(first)) == expression(same_links.map(first))
    assert expression(links.map(first)).translation != expression(links.map(second)).translation
    assert expression(links.map(first)).translation != expression(links).translation


def test_what_is_made_has_the_capability_of_the_base() -> None:
    def kind(base: Repository) -> type[Repository]:
        return type(RelatedItemRepository(base, data()))

    assert kind(Paths()) is RelatedItemRepository
    assert kind(data()) is RelatedMetadataRepository
    assert kind(InProcessBlobRepository()) is RelatedBlobRepository
    assert kind(YamlShelf()) is RelatedMetadataBlobRepository
    assert kind(RelatedItemRepository(YamlShelf(), data())) is RelatedMetadataBlobRepository
    assert not issubclass(RelatedItemRepository, MetadataRepository | BlobRepository)
    assert issubclass(RelatedMetadataBlobRepository, RelatedMetadataRepository)
    assert issubclass(RelatedMetadataBlobRepository, RelatedBlobRepository)
    by_name = RelatedItemRepository(base_repository=data(), translator_repository=data())
    assert type(by_name) is RelatedMetadataRepository


async def test_reading_and_writing_go_through_the_translation() -> None:
    base = YamlShelf()
    repo = RelatedItemRepository(base, data(a="x"))
    await repo.dump("a", [1])
    assert base.data == {"x": b"- 1\n"}
    async with await repo.open("a") as text:
        assert await text.read() == "- 1\n"
    async with await repo.open("a", "wb") as sink:
        await sink.write(b"2")
    assert await repo.info("a") == 2


async def test_it_stands_on_both_children() -> None:
    class Live(InProcessMetadataRepository):
        @property
        @override
        def resources(self) -> frozenset[object]:
            return frozenset(self.data.values())

    base, translator = Live({"x": "client"}), Live({"a": "bucket"})
    repo = RelatedItemRepository(base, translator)
    assert repo.resources == frozenset({"client", "bucket"})
    assert base.location in repo.location
    assert translator.location in repo.location
    assert f"translator={translator!r}" in repr(repo)


async def heard(events: AsyncIterator[KeyEvent]) -> KeyEvent:
    async with asyncio.timeout(DEADLINE):
        return await anext(events)


async def test_watch_tells_of_translations_and_asks_to_list_again_when_the_base_changes() -> None:
    base, translator = data(x=1), data()
    async with RelatedItemRepository(base, translator).watch() as events:
        await translator.dump("a", "x")
        assert await heard(events) == Added("a")
        await translator.dump("b", "y")
        assert await heard(events) == Removed("b")
        await base.dump("y", 1)
        assert await heard(events) == Resync()


class Identity(Repository):
    """Holds the jobs of the base and translates each to itself."""

    def __init__(self, base: InProcessMetadataRepository | InProcessBlobRepository) -> None:
        self.base = base

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for key in list(self.base.data):
            yield key

    @override
    async def contains(self, job: str, /) -> bool:
        return True

    @override
    async def info(self, job: str, /) -> str:
        return job

    @override
    async def delete(self, job: str, /) -> None:
        raise AssertionError(job)


class _RelatedTests(RepositoryTests[RelatedItemRepository]):
    absent_info = "none"
    versioned = False
    announces = False
    writable = True
    foreign_keys = ()  # the base and the translator report their own

    def base(self, repo: RelatedItemRepository) -> InProcessMetadataRepository | InProcessBlobRepository:
        assert isinstance(repo.base_repository, InProcessMetadataRepository | InProcessBlobRepository)
        return repo.base_repository

    @override
    async def twin(self, repo: RelatedItemRepository) -> RelatedItemRepository:
        return RelatedItemRepository(
            repo.base_repository, repo.translator_repository, repo.allow_deletes, repo.prefetch_lookup
        )

    @override
    async def peek(self, repo: RelatedItemRepository, job: str) -> Any:
        return self.base(repo).data.get(job)

    @override
    async def poke(self, repo: RelatedItemRepository, job: str, value: Any) -> None:
        self.base(repo).data[job] = value

    @override
    async def poke_raw(self, repo: RelatedItemRepository, key: str, raw: Any) -> None:
        self.base(repo).data[key] = raw


class TestRelatedMetadata(_RelatedTests):
    values = ({"value": "first"}, {"value": "second"})

    @pytest.fixture
    async def repo(self) -> RelatedItemRepository:
        base = InProcessMetadataRepository()
        return RelatedItemRepository(base, Identity(base), allow_deletes=True)

    @override
    async def put(self, repo: RelatedItemRepository, job: str, value: Any) -> None:
        assert isinstance(repo, RelatedMetadataRepository)
        await repo.dump(job, value)


class TestRelatedBlobs(_RelatedTests):
    @pytest.fixture
    async def repo(self) -> RelatedItemRepository:
        base = InProcessBlobRepository()
        return RelatedItemRepository(base, Identity(base), allow_deletes=True, prefetch_lookup=False)

    @override
    async def put(self, repo: RelatedItemRepository, job: str, value: bytes) -> None:
        assert isinstance(repo, RelatedBlobRepository)
        async with await repo.open(job, "wb") as sink:
            await sink.write(value)
