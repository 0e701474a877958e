"""YAML and JSON metadata keeps the promises of a metadata repository, over a backend and over any blob repository."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from pydatatask_core.errors import JobIdError, MalformedValueError, MissingJobError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed
from pydatatask_core.repository.encoded import (
    JSON,
    YAML,
    Codec,
    EncodedRepository,
    JsonMetadataBlobRepository,
    JsonMetadataRepository,
    YamlMetadataBlobRepository,
    YamlMetadataRepository,
)
from pydatatask_core.repository.memory import InProcessBlobRepository
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.testing import (
    BlobRepositoryTests,
    Fail,
    Faults,
    MetadataRepositoryTests,
    always,
    faulty,
    nth,
    repository_machine,
)
from pydatatask_core.testing.suite import AbsentInfo
from typing_extensions import override

Wrapper = YamlMetadataBlobRepository | JsonMetadataBlobRepository


class YamlShelf(YamlMetadataRepository, InProcessBlobRepository):
    """A backend as others write it."""


class JsonShelf(JsonMetadataRepository, InProcessBlobRepository):
    """A backend as others write it."""


class LenientShelf(YamlShelf):
    """A backend whose absent jobs have an empty value."""

    @override
    def absent(self, job: str, error: MissingJobError) -> dict[str, Any]:
        return {}


class _ShelfTests(MetadataRepositoryTests[EncodedRepository]):
    absent_info: ClassVar[AbsentInfo] = "missing"
    examples = 30
    versioned = False

    def data_of(self, repo: EncodedRepository) -> dict[str, bytes]:
        assert isinstance(repo, InProcessBlobRepository)
        return repo.data

    @override
    async def peek(self, repo: EncodedRepository, job: str) -> Any:
        raw = self.data_of(repo).get(job)
        return None if raw is None else repo.codec.decode(raw)

    @override
    async def poke(self, repo: EncodedRepository, job: str, value: Any) -> None:
        self.data_of(repo)[job] = repo.codec.encode(value)

    @override
    async def poke_raw(self, repo: EncodedRepository, key: str, raw: bytes) -> None:
        self.data_of(repo)[key] = raw


class TestYamlBackend(_ShelfTests):
    @pytest.fixture
    async def repo(self) -> EncodedRepository:
        return YamlShelf()

    @override
    async def twin(self, repo: EncodedRepository) -> EncodedRepository:
        return YamlShelf(self.data_of(repo))


@pytest.mark.slow
class TestJsonBackend(_ShelfTests):
    @pytest.fixture
    async def repo(self) -> EncodedRepository:
        return JsonShelf()

    @override
    async def twin(self, repo: EncodedRepository) -> EncodedRepository:
        return JsonShelf(self.data_of(repo))


@pytest.mark.slow
class TestBackendWithEmptyValues(_ShelfTests):
    absent_info = "empty"

    @pytest.fixture
    async def repo(self) -> EncodedRepository:
        return LenientShelf()

    @override
    async def twin(self, repo: EncodedRepository) -> EncodedRepository:
        return LenientShelf(self.data_of(repo))


class _WrapperTests(MetadataRepositoryTests[Wrapper]):
    absent_info = "missing"
    examples = 30
    versioned = False

    def data_of(self, repo: Wrapper) -> dict[str, bytes]:
        assert isinstance(repo.base, InProcessBlobRepository)
        return repo.base.data

    @override
    async def twin(self, repo: Wrapper) -> Wrapper:
        return type(repo)(InProcessBlobRepository(self.data_of(repo)))

    @override
    async def peek(self, repo: Wrapper, job: str) -> Any:
        raw = self.data_of(repo).get(job)
        return None if raw is None else repo.codec.decode(raw)

    @override
    async def poke(self, repo: Wrapper, job: str, value: Any) -> None:
        self.data_of(repo)[job] = repo.codec.encode(value)

    @override
    async def poke_raw(self, repo: Wrapper, key: str, raw: bytes) -> None:
        self.data_of(repo)[key] = raw


class TestYamlOverBlobs(_WrapperTests):
    @pytest.fixture
    async def repo(self) -> Wrapper:
        return YamlMetadataBlobRepository(InProcessBlobRepository())


@pytest.mark.slow
class TestJsonOverBlobs(_WrapperTests):
    @pytest.fixture
    async def repo(self) -> Wrapper:
        return JsonMetadataBlobRepository(InProcessBlobRepository())


class TestBytesOfAnEncodedBackend(BlobRepositoryTests[EncodedRepository]):
    """What is metadata is also a blob repository: the same values, raw."""

    absent_info = "missing"
    versioned = False
    bounded_memory = False
    values = (b"value: first\n", b"value: second\n")

    @pytest.fixture
    async def repo(self) -> EncodedRepository:
        return YamlShelf()

    @override
    async def twin(self, repo: EncodedRepository) -> EncodedRepository:
        return YamlShelf(self.data_of(repo))

    def data_of(self, repo: EncodedRepository) -> dict[str, bytes]:
        assert isinstance(repo, YamlShelf)
        return repo.data

    @override
    async def peek(self, repo: EncodedRepository, job: str) -> bytes | None:
        return self.data_of(repo).get(job)

    @override
    async def poke(self, repo: EncodedRepository, job: str, value: bytes) -> None:
        self.data_of(repo)[job] = value

    @override
    async def poke_raw(self, repo: EncodedRepository, key: str, raw: bytes) -> None:
        self.data_of(repo)[key] = raw


@asynccontextmanager
async def _yaml_over_blobs() -> AsyncIterator[Repository]:
    yield YamlMetadataBlobRepository(InProcessBlobRepository())


@asynccontextmanager
async def _json_over_blobs() -> AsyncIterator[Repository]:
    yield JsonMetadataBlobRepository(InProcessBlobRepository())


@pytest.mark.parametrize("factory", [_yaml_over_blobs, _json_over_blobs])
def test_random_operations_agree_with_a_dict(factory: Any) -> None:
    machine = repository_machine(factory)
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None))


async def test_a_backend_is_both_metadata_and_blobs() -> None:
    repo = YamlShelf()
    assert isinstance(repo, MetadataRepository)
    assert isinstance(repo, BlobRepository)
    await repo.dump("job", {"a": 1})
    async with await repo.open("job") as source:
        assert await source.read() == "a: 1\n"
    async with await repo.open("job", "w") as sink:
        await sink.write("[1, 2]")
    assert await repo.info("job") == [1, 2]


async def test_a_wrapper_is_metadata_alone() -> None:
    assert not isinstance(YamlMetadataBlobRepository(InProcessBlobRepository()), BlobRepository)


@pytest.mark.parametrize("kind", [YamlMetadataBlobRepository, JsonMetadataBlobRepository])
async def test_a_wrapper_is_one_repository_with_its_blobs(kind: type[Wrapper]) -> None:
    blobs = InProcessBlobRepository()
    repo = kind(blobs)
    assert repo.location == blobs.location
    assert repo.expression == blobs.expression
    assert repo.change_source is blobs.change_source
    assert repo.resources == blobs.resources
    heard: list[KeyEvent] = []
    with blobs.changes.listening(heard.append):
        await repo.dump("job", 1)
        await repo.delete("job")
    assert heard == [Added("job"), Removed("job")]


async def test_a_wrapper_asks_what_it_wraps() -> None:
    faults = Faults()
    repo = YamlMetadataBlobRepository(faulty(InProcessBlobRepository({"job": b"1"}), faults))
    assert [page async for page in repo.versions()] == [[("job", "")]]
    assert [job async for job in repo.unfiltered_iter()] == ["job"]
    assert await repo.contains("job")
    await repo.validate()
    assert {"list", "contains job", "validate"} <= set(faults.operations)


@pytest.mark.parametrize("kind", [YamlMetadataBlobRepository, JsonMetadataBlobRepository])
@pytest.mark.parametrize("raw", [b"{", b"a: \xff", b'"\x01"'])
async def test_a_broken_value_names_repository_job_and_place_and_keeps_the_cause(
    kind: type[Wrapper], raw: bytes
) -> None:
    repo = kind(InProcessBlobRepository({"job7": raw}))
    with pytest.raises(MalformedValueError) as caught:
        await repo.info("job7")
    message = str(caught.value)
    assert "'job7'" in message
    assert repr(repo) in message
    assert "line" in message or "byte" in message
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, MalformedValueError)


async def test_data_that_the_format_cannot_hold_names_repository_and_job_and_is_not_written() -> None:
    deep: Any = None
    for _ in range(300):
        deep = [deep]
    blobs = InProcessBlobRepository()
    repo = YamlMetadataBlobRepository(blobs)
    with pytest.raises(MalformedValueError, match=r"'job7'.*nested too deeply") as caught:
        await repo.dump("job7", deep)
    assert repr(repo) in str(caught.value)
    assert blobs.data == {}


async def test_info_of_an_invalid_job_id_does_not_reach_the_blobs() -> None:
    faults = Faults()
    repo = YamlMetadataBlobRepository(faulty(InProcessBlobRepository(), faults))
    with pytest.raises(JobIdError):
        await repo.info("../etc")
    with pytest.raises(JobIdError):
        await repo.dump("../etc", 1)
    assert faults.operations == []


async def test_info_all_leaves_out_a_job_that_is_deleted_meanwhile() -> None:
    class Vanishing(YamlShelf):
        @override
        async def load_bytes(self, job: str, /) -> bytes:
            if job == "b":
                await self.delete("b")
            return await super().load_bytes(job)

    repo = Vanishing(dict.fromkeys("abc", b"1"))
    assert await repo.info_all() == {"a": 1, "c": 1}


async def test_info_all_reads_several_values_at_once_and_not_all() -> None:
    reading, most = 0, 0

    class Counting(YamlShelf):
        @override
        async def load_bytes(self, job: str, /) -> bytes:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            for _ in range(3):
                await asyncio.sleep(0)
            reading -= 1
            return await super().load_bytes(job)

    repo = Counting({f"job{n}": b"1" for n in range(100)})
    assert len(await repo.info_all()) == 100
    assert most == Counting.at_once


async def test_an_unreachable_store_never_looks_like_an_absent_job() -> None:
    error = StoreUnavailableError("the network is down")
    repo = YamlMetadataBlobRepository(faulty(InProcessBlobRepository({"job": b"1"}), Faults(always(Fail(error)))))
    for verb in (repo.info("job"), repo.info_all(), repo.dump("job", 1), repo.contains("job"), repo.delete("job")):
        with pytest.raises(StoreUnavailableError):
            await verb


@pytest.mark.parametrize("strike", range(3))
async def test_a_dump_that_fails_leaves_the_earlier_value(strike: int) -> None:
    blobs = InProcessBlobRepository({"job": b"old"})
    faults = Faults(nth(strike, Fail(StoreUnavailableError("the network is down"))))
    repo = YamlMetadataBlobRepository(faulty(blobs, faults))
    with pytest.raises(StoreUnavailableError):
        await repo.dump("job", "new")
    assert blobs.data == {"job": b"old"}


class Noting(Codec):
    """YAML that notes the threads in which it is used."""

    name = "YAML"

    def __init__(self) -> None:
        self.threads: list[int] = []

    @override
    def encode(self, data: Any) -> bytes:
        self.threads.append(threading.get_ident())
        return YAML.encode(data)

    @override
    def decode(self, raw: bytes) -> Any:
        self.threads.append(threading.get_ident())
        return YAML.decode(raw)


@pytest.mark.parametrize(
    ("data", "elsewhere"),
    [
        ({"a": 1}, False),
        ("x" * 10_000, False),
        ("x" * 100_000, True),
        (b"x" * 100_000, True),
        ([1] * 20_000, True),
        ({f"key{n}": n for n in range(5_000)}, True),
    ],
    ids=["small", "ten KB", "text", "bytes", "list", "mapping"],
)
async def test_only_large_values_are_encoded_and_decoded_in_a_thread(data: Any, elsewhere: bool) -> None:
    noting = Noting()

    class Noted(YamlMetadataBlobRepository):
        codec = noting

    repo = Noted(InProcessBlobRepository())
    await repo.dump("job", data)
    await repo.info("job")
    assert len(noting.threads) == 2
    assert all((thread != threading.get_ident()) is elsewhere for thread in noting.threads)


async def test_a_large_value_may_be_changed_by_its_owner_while_it_is_dumped() -> None:
    repo = YamlShelf()
    data = {"items": [1] * 20_000, "when": datetime(2024, 1, 1, tzinfo=UTC)}
    dumping = asyncio.create_task(repo.dump("job", data))
    await asyncio.sleep(0)
    data.clear()
    await dumping
    assert (await repo.info("job"))["items"] == [1] * 20_000


def test_the_codec_is_open_to_backends_and_names_the_job() -> None:
    assert YamlShelf.codec is YAML
    assert JsonShelf.codec is JSON
    repo = YamlShelf()
    assert repo.codec.read(repo.codec.write({"a": 1}, "job", repo), "job", repo) == {"a": 1}
    with pytest.raises(MalformedValueError, match="'job'"):
        repo.codec.read(b"{", "job", repo)


def test_a_pyyaml_without_libyaml_is_refused_with_the_remedy() -> None:
    script = "import sys; sys.modules['yaml._yaml'] = None; import pydatatask_core.repository.encoded"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "ImportError: PyYAML was built without libyaml" in done.stderr
    assert "Install a binary wheel" in done.stderr
