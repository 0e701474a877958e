"""What the type checker must accept of combinators and encoded repositories, and what it must refuse. Never run."""

from __future__ import annotations

from typing import Any, assert_type

from pydatatask_core.repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingBlobRepository,
    BlockingMetadataBlobRepository,
    BlockingMetadataRepository,
    BlockingRepository,
    MapRepository,
    RelatedBlobRepository,
    RelatedItemRepository,
    RelatedMetadataBlobRepository,
    RelatedMetadataRepository,
)
from pydatatask_core.repository.encoded import (
    EncodedRepository,
    JsonMetadataBlobRepository,
    YamlMetadataBlobRepository,
    YamlMetadataRepository,
)
from pydatatask_core.repository.memory import InProcessBlobRepository, InProcessMetadataRepository
from pydatatask_core.repository.protocols import BlobRepository, CanDump, CanOpen, MetadataRepository, Repository
from pydatatask_core.streams import BlobReader, TextReader


class YamlShelf(YamlMetadataRepository, InProcessBlobRepository):
    """A backend whose info differs from that of its blobs."""


def related_keeps_the_capability_of_the_base(
    data: InProcessMetadataRepository, blobs: InProcessBlobRepository, shelf: YamlShelf, any_: Repository
) -> None:
    assert_type(RelatedItemRepository(data, any_), RelatedMetadataRepository)
    assert_type(RelatedItemRepository(blobs, any_, True, False), RelatedBlobRepository)
    assert_type(RelatedItemRepository(shelf, any_), RelatedMetadataBlobRepository)
    assert_type(RelatedItemRepository(any_, data), RelatedItemRepository)
    assert_type(RelatedItemRepository(base_repository=data, translator_repository=data), RelatedMetadataRepository)


def blocking_keeps_the_capability_of_the_source(
    data: InProcessMetadataRepository, blobs: InProcessBlobRepository, shelf: YamlShelf, any_: Repository
) -> None:
    assert_type(BlockingRepository(data, any_), BlockingMetadataRepository)
    assert_type(BlockingRepository(blobs, any_, False), BlockingBlobRepository)
    assert_type(BlockingRepository(shelf, any_), BlockingMetadataBlobRepository)
    assert_type(BlockingRepository(any_, data), BlockingRepository)


async def what_is_kept_can_be_used(
    blobs: RelatedBlobRepository, data: BlockingMetadataRepository, both: RelatedMetadataBlobRepository
) -> None:
    open_: CanOpen = blobs
    open_ = both
    dump: CanDump = data
    dump = both
    blob: BlobRepository = both
    metadata: MetadataRepository = both
    assert_type(await blobs.open("job"), TextReader)
    assert_type(await both.open("job", "rb"), BlobReader)
    del open_, dump, blob, metadata


def what_lacks_a_verb_is_refused(
    data: InProcessMetadataRepository, blobs: InProcessBlobRepository, any_: Repository
) -> None:
    dump: CanDump = RelatedItemRepository(blobs, data)  # type: ignore[assignment]  # blobs are not dumped
    dump = RelatedItemRepository(any_, data)  # type: ignore[assignment]  # not every repository holds data
    dump = AggregateAndRepository(data=data)  # type: ignore[assignment]  # an info of several is not dumped
    open_: CanOpen = BlockingRepository(data, blobs)  # type: ignore[assignment]  # data is not opened
    open_ = AggregateOrRepository(blobs=blobs)  # type: ignore[assignment]  # which child would it be?
    open_ = YamlMetadataBlobRepository(blobs)  # type: ignore[assignment]  # a wrapper is data alone
    YamlMetadataBlobRepository(data)  # type: ignore[arg-type]  # only blobs can be wrapped
    del dump, open_


async def a_map_is_a_repository(data: InProcessMetadataRepository) -> None:
    async def func(info: Any) -> int:
        return len(info)

    async def filt(job: str) -> bool:
        return bool(job)

    assert_type(data.map(func), MapRepository)
    assert_type(data.map(func, filt, allow_deletes=True), MapRepository)
    data.map(len)  # type: ignore[arg-type]  # the function must be async


def encoded_repositories_are_what_they_claim(shelf: YamlShelf, wrapped: JsonMetadataBlobRepository) -> None:
    encoded: EncodedRepository = shelf
    data: MetadataRepository = shelf
    data = wrapped
    blobs: BlobRepository = shelf
    blobs = wrapped  # type: ignore[assignment]  # a wrapper is data alone
    del encoded, data, blobs
