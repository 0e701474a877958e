"""Random operations on any repository, compared step by step with a plain dict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from typing_extensions import override

from ..errors import MissingJobError
from ..repository.changes import Added, KeyEvent, Removed
from ..repository.protocols import BlobRepository, MetadataRepository, Repository
from ..streams import BlobWriter
from .suite import cut_short, listed, paged, versions_of
from .values import as_stored, json_like, same

__all__ = ["RepositoryMachine", "repository_machine"]

T = TypeVar("T")

_jobs = st.sampled_from(["a", "A", "b", "a.b", "a-b", "job.yaml", "z" * 63])
_parts = st.lists(st.binary(max_size=40) | st.integers(1, 3).map(lambda n: b"x" * (n * 100_000)), max_size=3)
_turns = st.integers(0, 15)


def _holds_data(machine: RepositoryMachine) -> bool:
    return isinstance(machine.repo, MetadataRepository)


def _holds_bytes(machine: RepositoryMachine) -> bool:
    # Where data is kept as a blob, and the blob may be had as well, it is written as data alone.
    return isinstance(machine.repo, BlobRepository) and not isinstance(machine.repo, MetadataRepository)


class RepositoryMachine(RuleBasedStateMachine):
    """One run over one fresh repository. Made by :func:`repository_machine`."""

    factory: ClassVar[Callable[[], AbstractAsyncContextManager[Repository]]]

    writers: Bundle[tuple[str, BlobWriter, list[bytes]]] = Bundle("writers")

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.model: dict[str, Any] = {}
        self.heard: set[str] = set()
        self.repo = self._run(self._open())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def _open(self) -> Repository:
        repo = await self._stack.enter_async_context(type(self).factory())
        await repo.validate()
        self._stack.enter_context(repo.changes.listening(self._hear))
        return repo

    def _hear(self, event: KeyEvent) -> None:
        if isinstance(event, Added):
            self.heard.add(event.job)
        elif isinstance(event, Removed):
            self.heard.discard(event.job)

    @override
    def teardown(self) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._runner.close()

    # metadata

    @precondition(_holds_data)
    @rule(job=_jobs, data=json_like())
    def dump(self, job: str, data: Any) -> None:
        """Publish data."""
        assert isinstance(self.repo, MetadataRepository)
        self._run(self.repo.dump(job, data))
        self.model[job] = as_stored(data)

    @precondition(_holds_data)
    @rule(job=_jobs, data=json_like(), turns=_turns)
    def dump_cut_short(self, job: str, data: Any, turns: int) -> None:
        """Cancel a dump somewhere: the old value stands, or the new one."""
        assert isinstance(self.repo, MetadataRepository)
        self._run(cut_short(self.repo.dump(job, data), turns))
        self._settle(job, as_stored(data))

    # blobs

    @precondition(_holds_bytes)
    @rule(job=_jobs, parts=_parts)
    def write(self, job: str, parts: list[bytes]) -> None:
        """Publish bytes."""
        self._run(self._write(job, parts))
        self.model[job] = b"".join(parts)

    async def _write(self, job: str, parts: list[bytes]) -> None:
        assert isinstance(self.repo, BlobRepository)
        async with await self.repo.open(job, "wb") as writer:
            for part in parts:
                await writer.write(part)

    @precondition(_holds_bytes)
    @rule(job=_jobs, parts=_parts, turns=_turns)
    def write_cut_short(self, job: str, parts: list[bytes], turns: int) -> None:
        """Cancel a writer somewhere: the old value stands, or the new one."""
        self._run(cut_short(self._write(job, parts), turns))
        self._settle(job, b"".join(parts))

    @precondition(_holds_bytes)
    @rule(target=writers, job=_jobs, parts=_parts)
    def begin(self, job: str, parts: list[bytes]) -> tuple[str, BlobWriter, list[bytes]]:
        """Open a writer, write, and leave it open. It publishes nothing yet."""
        assert isinstance(self.repo, BlobRepository)
        writer = self._run(self.repo.open(job, "wb"))
        for part in parts:
            self._run(writer.write(part))
        self._stack.push_async_callback(writer.abort)
        return job, writer, parts

    @rule(begun=consumes(writers))
    def finish(self, begun: tuple[str, BlobWriter, list[bytes]]) -> None:
        """Close a writer that was left open, perhaps after others of the same job."""
        job, writer, parts = begun
        self._run(writer.close())
        self.model[job] = b"".join(parts)

    @rule(begun=consumes(writers))
    def discard(self, begun: tuple[str, BlobWriter, list[bytes]]) -> None:
        """Abort a writer that was left open."""
        self._run(begun[1].abort())

    # every repository

    @rule(job=_jobs)
    def delete(self, job: str) -> None:
        """Delete a job, there or not."""
        self._run(self.repo.delete(job))
        self.model.pop(job, None)

    @rule(job=_jobs)
    def contains(self, job: str) -> None:
        """Ask for one job."""
        assert self._run(self.repo.contains(job)) is (job in self.model)

    @rule(job=_jobs)
    def read(self, job: str) -> None:
        """Read one value."""
        if job in self.model:
            found = self._run(self._read(job))
            assert same(found, self.model[job]), f"{job!r} held {self.model[job]!r} and was read as {found!r}"
        elif _holds_bytes(self):
            try:
                self._run(self._read(job))
            except MissingJobError:
                return
            raise AssertionError(f"{job!r} is absent and could be read")

    async def _read(self, job: str) -> Any:
        if _holds_bytes(self):
            assert isinstance(self.repo, BlobRepository)
            async with await self.repo.open(job, "rb") as reader:
                return await reader.read()
        return await self.repo.info(job)

    @rule()
    def list_pages(self) -> None:
        """List by page, and with versions."""
        jobs = [job for page in self._run(paged(self.repo)) for job in page]
        assert sorted(jobs) == sorted(self.model)
        assert self._run(versions_of(self.repo)).keys() == self.model.keys()

    @rule()
    def info_all(self) -> None:
        """Ask for everything."""
        everything = self._run(self.repo.info_all())
        assert everything.keys() == self.model.keys()
        if isinstance(self.repo, MetadataRepository):
            assert same(everything, self.model)

    @invariant()
    def the_keys_are_those_of_the_model(self) -> None:
        """Iteration gives the model's keys, each once; so does everything announced since the beginning."""
        assert sorted(self._run(listed(self.repo))) == sorted(self.model)
        assert self.heard == self.model.keys()

    def _settle(self, job: str, new: Any) -> None:
        """Find out whether an interrupted write came through, and believe it from now on."""
        if not self._run(self.repo.contains(job)):
            assert job not in self.model, f"an interrupted write lost the earlier value of {job!r}"
            return
        found = self._run(self._read(job))
        assert same(found, new) or (job in self.model and same(found, self.model[job]))
        self.model[job] = found


def repository_machine(
    factory: Callable[[], AbstractAsyncContextManager[Repository]],
) -> type[RepositoryMachine]:
    """Make a state machine for a kind of repository; ``factory`` gives a fresh empty one, open while it is used.

    Run it with ``hypothesis.stateful.run_state_machine_as_test(machine, settings=...)`` in a plain test function,
    or take its ``TestCase``. It drives the repository on an event loop of its own.
    """
    return type("RepositoryMachine", (RepositoryMachine,), {"factory": staticmethod(factory)})
