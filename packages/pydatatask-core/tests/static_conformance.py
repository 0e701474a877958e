"""What the type checker must accept, and what it must refuse. Read by mypy, never run.

A refusal stands as an ignored error: mypy complains of an ignore that is not needed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, assert_type

from pydatatask_core.repository.changes import KeyEvent
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import (
    BlobRepository,
    CanContain,
    CanDelete,
    CanDump,
    CanInfo,
    CanList,
    CanOpen,
    CanWatch,
    MetadataRepository,
    Repository,
    StreamRepository,
)
from pydatatask_core.session import Resource, Session
from pydatatask_core.streams import (
    BlobReader,
    BlobWriter,
    ReadStream,
    ReadText,
    TextReader,
    TextWriter,
    WriteStream,
    WriteText,
    copy,
)
from pydatatask_core.testing import (
    Faults,
    FaultyBlobRepository,
    FaultyMetadataRepository,
    FaultyRepository,
    faulty,
)
from typing_extensions import override


class Common(CanList, CanContain, CanDelete, CanInfo, CanWatch, Protocol):
    """The verbs of every repository."""


class Shelf(Repository):
    """Three methods make a repository."""

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        yield "job"

    @override
    async def info(self, job: str, /) -> int:
        return len(job)

    @override
    async def delete(self, job: str, /) -> None: ...


def every_repository_has_the_common_verbs(
    shelf: Shelf,
    data: InProcessMetadataRepository,
    blobs: InProcessBlobRepository,
    faulty_any: FaultyRepository,
    declared: Repository,
) -> None:
    common: Common = shelf
    common = data
    common = blobs
    common = faulty_any
    common = declared
    del common


def metadata_repositories_dump(
    data: InProcessMetadataRepository, faulty_data: FaultyMetadataRepository, declared: MetadataRepository
) -> None:
    dump: CanDump = data
    dump = faulty_data
    dump = declared
    del dump


def blob_repositories_open(
    blobs: InProcessBlobRepository,
    faulty_blobs: FaultyBlobRepository,
    declared: BlobRepository,
    streaming: StreamRepository,
) -> None:
    open_: CanOpen = blobs
    open_ = faulty_blobs
    open_ = declared
    open_ = streaming
    del open_


def what_lacks_a_verb_is_refused(
    shelf: Shelf, data: InProcessMetadataRepository, blobs: InProcessBlobRepository, declared: Repository
) -> None:
    dump: CanDump = blobs  # type: ignore[assignment]  # blobs are not dumped
    dump = shelf  # type: ignore[assignment]  # three methods have no dump
    dump = declared  # type: ignore[assignment]  # not every repository holds data
    open_: CanOpen = data  # type: ignore[assignment]  # data is not opened
    open_ = declared  # type: ignore[assignment]  # not every repository holds bytes
    del dump, open_


async def each_mode_has_its_stream(blobs: BlobRepository, can: CanOpen, mode: str) -> None:
    assert_type(await blobs.open("job"), TextReader)
    assert_type(await blobs.open("job", "r"), TextReader)
    assert_type(await blobs.open("job", "rb"), BlobReader)
    assert_type(await blobs.open("job", "w"), TextWriter)
    assert_type(await blobs.open("job", "wb"), BlobWriter)
    assert_type(await can.open("job", "rb"), BlobReader)
    async with await blobs.open("job", "rb") as reader, await blobs.open("job", "wb") as writer:
        assert_type(reader, BlobReader)
        assert_type(await copy(reader, writer), int)
    async with await blobs.open("job") as text:
        assert_type(await text.read(3), str)
        await text.read("all")  # type: ignore[arg-type]  # a number is needed
    async with await blobs.open("job", "w") as text_writer:
        await text_writer.write(b"bytes")  # type: ignore[arg-type]  # text is needed
    await blobs.open("job", "rw")  # type: ignore[call-overload]  # no such mode
    await blobs.open("job", mode)  # type: ignore[call-overload]  # a mode must be known


def streams_are_what_they_claim(
    reader: BlobReader, writer: BlobWriter, text_reader: TextReader, text_writer: TextWriter
) -> None:
    source: ReadStream = reader
    sink: WriteStream = writer
    text_source: ReadText = text_reader
    text_sink: WriteText = text_writer
    source = text_reader  # type: ignore[assignment]  # it gives text
    sink = text_writer  # type: ignore[assignment]  # it takes text
    del source, sink, text_source, text_sink


def watching_gives_key_events(repo: Repository) -> None:
    assert_type(repo.watch(), AbstractAsyncContextManager[AsyncIterator[KeyEvent], bool | None])


def a_resource_gives_what_its_generator_yields(session: Session) -> None:
    @session.resource
    async def number() -> AsyncIterator[int]:
        yield 1

    @session.resource  # type: ignore[arg-type]  # it gives a value instead of yielding it
    async def coroutine() -> int:
        return 1

    @session.resource
    async def text() -> AsyncGenerator[str, None]:
        yield "live"

    assert_type(number(), int)
    assert_type(text, Resource[str])
    assert_type(text(), str)


def wrappers_keep_the_capability(
    data: InProcessMetadataRepository, blobs: InProcessBlobRepository, shelf: Shelf, faults: Faults
) -> None:
    assert_type(faulty(data, faults), FaultyMetadataRepository)
    assert_type(faulty(blobs, faults), FaultyBlobRepository)
    assert_type(faulty(shelf, faults), FaultyRepository)
