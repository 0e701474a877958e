"""The faulty wrappers do what their plan says, there and nowhere else."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import create_subprocess_exec
from typing import Any

import pytest
from pydatatask_core.errors import StoreFullError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import BlobRepository, MetadataRepository, Repository
from pydatatask_core.testing import (
    BlobRepositoryTests,
    Cancel,
    Fail,
    Faults,
    FaultyBlobRepository,
    FaultyMetadataRepository,
    Hold,
    MetadataRepositoryTests,
    always,
    faulty,
    nth,
)
from typing_extensions import override

DEADLINE = 20.0


@pytest.mark.slow
class TestFaultyMetadata(MetadataRepositoryTests[FaultyMetadataRepository]):
    """Without a plan the wrapper changes nothing."""

    versioned = False
    broken = object()
    many = 1100
    examples = 20

    @pytest.fixture
    async def repo(self) -> FaultyMetadataRepository:
        return faulty(InProcessMetadataRepository(), Faults())

    def store(self, repo: FaultyMetadataRepository) -> dict[str, Any]:
        assert isinstance(repo.base, InProcessMetadataRepository)
        return repo.base.data

    @override
    async def twin(self, repo: FaultyMetadataRepository) -> FaultyMetadataRepository:
        return faulty(InProcessMetadataRepository(self.store(repo)), repo.faults)

    @override
    async def peek(self, repo: FaultyMetadataRepository, job: str) -> Any:
        return self.store(repo).get(job)

    @override
    async def poke(self, repo: FaultyMetadataRepository, job: str, value: Any) -> None:
        self.store(repo)[job] = value

    @override
    async def poke_raw(self, repo: FaultyMetadataRepository, key: str, raw: Any) -> None:
        self.store(repo)[key] = raw


@pytest.mark.slow
class TestFaultyBlobs(BlobRepositoryTests[FaultyBlobRepository]):
    """Without a plan the wrapper changes nothing."""

    absent_info = "none"
    versioned = False
    bounded_memory = False

    @pytest.fixture
    async def repo(self) -> FaultyBlobRepository:
        return faulty(InProcessBlobRepository(), Faults())

    def store(self, repo: FaultyBlobRepository) -> dict[str, bytes]:
        assert isinstance(repo.base, InProcessBlobRepository)
        return repo.base.data

    @override
    async def twin(self, repo: FaultyBlobRepository) -> FaultyBlobRepository:
        return faulty(InProcessBlobRepository(self.store(repo)), repo.faults)

    @override
    async def peek(self, repo: FaultyBlobRepository, job: str) -> bytes | None:
        return self.store(repo).get(job)

    @override
    async def poke(self, repo: FaultyBlobRepository, job: str, value: bytes) -> None:
        self.store(repo)[job] = value

    @override
    async def poke_raw(self, repo: FaultyBlobRepository, key: str, raw: bytes) -> None:
        self.store(repo)[key] = raw


def test_wrappers_keep_the_capability_by_class() -> None:
    faults = Faults()
    data, blobs = faulty(InProcessMetadataRepository(), faults), faulty(InProcessBlobRepository(), faults)
    assert isinstance(data, MetadataRepository)
    assert not isinstance(data, BlobRepository)
    assert isinstance(blobs, BlobRepository)
    assert not isinstance(blobs, MetadataRepository)


async def everything(data: MetadataRepository, blobs: BlobRepository) -> None:
    """Do each operation once."""
    await data.validate()
    await data.dump("job", 1)
    await data.info("job")
    await data.contains("job")
    async with await blobs.open("job", "wb") as writer:
        await writer.write(b"x")
    async with await blobs.open("job", "rb") as reader:
        await reader.read()
    await blobs.info_all()
    await blobs.delete("job")


OPERATIONS = [
    "validate",
    "dump job",
    "info job",
    "contains job",
    "open wb job",
    "write job",
    "close job",
    "open rb job",
    "read job",
    "info_all",
    "delete job",
]


def wrapped(faults: Faults) -> tuple[FaultyMetadataRepository, FaultyBlobRepository]:
    return faulty(InProcessMetadataRepository(), faults), faulty(InProcessBlobRepository(), faults)


async def test_every_operation_is_counted_in_order() -> None:
    faults = Faults()
    await everything(*wrapped(faults))
    assert faults.operations == OPERATIONS


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("n", range(len(OPERATIONS)))
async def test_each_operation_can_be_made_to_fail(n: int, after: bool) -> None:
    faults = Faults(nth(n, Fail(StoreUnavailableError("down"), after=after)))
    with pytest.raises(StoreUnavailableError, match="down"):
        await everything(*wrapped(faults))
    assert faults.operations == OPERATIONS[: n + 1]


async def test_a_failure_before_leaves_the_store_alone_and_one_after_does_not() -> None:
    for after in (False, True):
        base = InProcessMetadataRepository()
        repo = faulty(base, Faults(always(Fail(OSError("no"), after=after))))
        with pytest.raises(OSError, match="no"):
            await repo.dump("job", 1)
        assert base.data == ({"job": 1} if after else {})


async def test_a_close_that_fails_publishes_nothing() -> None:
    base = InProcessBlobRepository({"job": b"earlier"})
    repo = faulty(base, Faults(always(Fail(StoreFullError("full")), only="close")))

    async def write() -> None:
        async with await repo.open("job", "wb") as writer:
            await writer.write(b"later")

    with pytest.raises(StoreFullError):
        await write()
    assert base.data == {"job": b"earlier"}


async def test_a_fault_strikes_only_what_it_is_meant_for_and_can_be_healed() -> None:
    faults = Faults(nth(1, Fail(OSError()), only="dump b"))
    repo, _ = wrapped(faults)
    for job in ("a", "b", "a", "c"):
        await repo.dump(job, 1)
    with pytest.raises(OSError):  # noqa: PT011  # it has no message
        await repo.dump("b", 2)
    await repo.dump("b", 3)
    faults.plan = always(Fail(OSError()))
    with pytest.raises(OSError):  # noqa: PT011  # it has no message
        await repo.contains("a")
    faults.plan = None
    assert await repo.contains("a")


async def test_an_operation_can_be_held_and_released() -> None:
    hold = Hold()
    repo, _ = wrapped(Faults(always(hold, only="dump")))
    task = asyncio.create_task(repo.dump("job", 1))
    async with asyncio.timeout(DEADLINE):
        await hold.reached.wait()
        assert not await repo.contains("job")
        hold.release.set()
        await task
    assert await repo.contains("job")


@pytest.mark.parametrize("after", [False, True])
async def test_an_operation_can_be_cancelled(after: bool) -> None:
    repo, _ = wrapped(Faults(always(Cancel(after=after), only="dump")))
    task = asyncio.create_task(repo.dump("job", 1))
    await asyncio.wait({task}, timeout=DEADLINE)
    assert task.cancelled()
    assert await repo.contains("job") == after


async def test_an_operation_can_kill_the_process() -> None:
    script = (
        "import asyncio\n"
        "from pydatatask_core.repository.memory import InProcessMetadataRepository\n"
        "from pydatatask_core.testing import Faults, Kill, faulty, nth\n"
        "repo = faulty(InProcessMetadataRepository(), Faults(nth(1, Kill())))\n"
        "asyncio.run(repo.dump('a', 1))\n"
        "print('alive', flush=True)\n"
        "asyncio.run(repo.dump('b', 1))\n"
        "print('still alive', flush=True)\n"
    )
    child = await create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    assert out == b"alive\n"
    assert child.returncode == -signal.SIGKILL


async def test_listing_and_watching_fail_page_by_page_and_event_by_event() -> None:
    faults = Faults(nth(1, Fail(StoreUnavailableError("down")), only="list"))
    repo, _ = wrapped(faults)
    assert [job async for job in repo] == []
    faults.plan = nth(0, Fail(StoreUnavailableError("down")), only="list")
    with pytest.raises(StoreUnavailableError):
        await anext(repo.pages())
    faults.plan = nth(1, Fail(StoreUnavailableError("down")), only="event")
    async with repo.watch() as events:
        await repo.dump("job", 1)
        await repo.dump("job", 2)
        assert await anext(events) == Added("job")
        with pytest.raises(StoreUnavailableError):
            await anext(events)
    faults.plan = always(Fail(StoreUnavailableError("down")), only="watch")
    with pytest.raises(StoreUnavailableError):
        await repo.watch().__aenter__()


async def test_the_wrapper_stands_on_the_same_location() -> None:
    base = InProcessMetadataRepository()
    repo: Repository = faulty(base, Faults())
    assert repo.location == base.location
    assert repo.change_source is base.change_source
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        await base.dump("job", 1)
    assert heard == [Added("job")]
