"""The reference implementation keeps every promise, and so does a user's own three-method repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.testing import BlobRepositoryTests, CreatingRepositoryTests, RepositoryTests
from typing_extensions import override


class TestMemoryMetadata(CreatingRepositoryTests[InProcessMetadataRepository]):
    absent_info = "none"
    versioned = False
    broken = object()

    @pytest.fixture
    async def repo(self) -> InProcessMetadataRepository:
        return InProcessMetadataRepository()

    @override
    async def twin(self, repo: InProcessMetadataRepository) -> InProcessMetadataRepository:
        return InProcessMetadataRepository(repo.data)

    @override
    async def peek(self, repo: InProcessMetadataRepository, job: str) -> Any:
        return repo.data.get(job)

    @override
    async def poke(self, repo: InProcessMetadataRepository, job: str, value: Any) -> None:
        repo.data[job] = value

    @override
    async def poke_raw(self, repo: InProcessMetadataRepository, key: str, raw: Any) -> None:
        repo.data[key] = raw


class TestMemoryBlobs(BlobRepositoryTests[InProcessBlobRepository]):
    absent_info = "none"
    versioned = False
    bounded_memory = False

    @pytest.fixture
    async def repo(self) -> InProcessBlobRepository:
        return InProcessBlobRepository()

    @override
    async def twin(self, repo: InProcessBlobRepository) -> InProcessBlobRepository:
        return InProcessBlobRepository(repo.data)

    @override
    async def peek(self, repo: InProcessBlobRepository, job: str) -> bytes | None:
        return repo.data.get(job)

    @override
    async def poke(self, repo: InProcessBlobRepository, job: str, value: bytes) -> None:
        repo.data[job] = value

    @override
    async def poke_raw(self, repo: InProcessBlobRepository, key: str, raw: bytes) -> None:
        repo.data[key] = raw


async def test_data_put_into_the_dict_by_hand_is_read_as_if_dumped() -> None:
    repo = InProcessMetadataRepository({"fine": (1, 2), "bad": object()})
    assert await repo.info("fine") == [1, 2]
    with pytest.raises(MalformedValueError, match=r"Cannot read job 'bad' in <InProcess"):
        await repo.info("bad")


class Shelf(Repository):
    """What a user writes: three methods and nothing else."""

    def __init__(self) -> None:
        self.items: dict[str, object] = {}

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


class TestThreeMethods(RepositoryTests[Shelf]):
    checks_jobs = False
    cheap_contains = False
    announces = False
    twins = False
    versioned = False

    @pytest.fixture
    async def repo(self) -> Shelf:
        return Shelf()

    @override
    async def peek(self, repo: Shelf, job: str) -> object:
        return repo.items.get(job)

    @override
    async def poke(self, repo: Shelf, job: str, value: object) -> None:
        repo.items[job] = value

    @override
    async def poke_raw(self, repo: Shelf, key: str, raw: object) -> None:
        repo.items[key] = raw
