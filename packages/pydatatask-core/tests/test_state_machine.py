"""Random operations on the memory repositories agree with a dict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.streams import BlobWriter
from pydatatask_core.testing import repository_machine
from typing_extensions import override

Factory = Callable[[], AbstractAsyncContextManager[Repository]]
BRIEFLY = settings(max_examples=15, stateful_step_count=25)
NO_SHRINKING = settings(database=None, phases=[Phase.generate], max_examples=200)


@asynccontextmanager
async def metadata() -> AsyncIterator[Repository]:
    yield InProcessMetadataRepository()


@asynccontextmanager
async def blobs() -> AsyncIterator[Repository]:
    yield InProcessBlobRepository()


@pytest.mark.parametrize("factory", [metadata, blobs])
def test_random_operations_agree_with_a_dict(factory: Factory) -> None:
    run_state_machine_as_test(repository_machine(factory), settings=BRIEFLY)


@pytest.mark.campaign
@pytest.mark.parametrize("factory", [metadata, blobs])
def test_many_random_operations_agree_with_a_dict(factory: Factory) -> None:
    run_state_machine_as_test(repository_machine(factory), settings=settings(max_examples=1000, stateful_step_count=60))


class ForgetfulMetadata(InProcessMetadataRepository):
    """Loses a job when another one with a dot is deleted."""

    @override
    async def delete(self, job: str, /) -> None:
        await super().delete(job)
        if "." in job:
            self.data.pop("a", None)


class SilentMetadata(InProcessMetadataRepository):
    """Does not announce what it deletes."""

    @override
    async def delete(self, job: str, /) -> None:
        self.data.pop(job, None)


class HastyBlobs(InProcessBlobRepository):
    """Publishes before the writer is closed."""

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        self.data.setdefault(job, b"")
        return await super().writer(job)


@pytest.mark.parametrize("broken", [ForgetfulMetadata, SilentMetadata, HastyBlobs])
def test_the_machine_finds_a_repository_that_breaks_its_promises(broken: type[Repository]) -> None:
    @asynccontextmanager
    async def factory() -> AsyncIterator[Repository]:
        yield broken()

    with pytest.raises(AssertionError):
        run_state_machine_as_test(repository_machine(factory), settings=NO_SHRINKING)
