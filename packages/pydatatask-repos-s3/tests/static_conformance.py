"""What the S3 repositories claim to be, for the type checker to see. Nothing here runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, assert_type

from pydatatask_core.repository.encoded import JsonMetadataRepository, YamlMetadataRepository
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
from pydatatask_core.session import Session
from pydatatask_core.streams import (
    BlobReader,
    BlobWriter,
    ReadStream,
    ReadText,
    TextReader,
    TextWriter,
    WriteStream,
    WriteText,
)
from pydatatask_repos_s3 import (
    JsonMetadataS3Repository,
    S3BucketInfo,
    S3BucketRepository,
    YamlMetadataS3Repository,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from types_aiobotocore_s3 import S3Client


def claims(blobs: S3BucketRepository, yaml: YamlMetadataS3Repository, json: JsonMetadataS3Repository) -> None:
    _bases: tuple[Repository, BlobRepository, StreamRepository] = (blobs, blobs, blobs)
    _data: tuple[MetadataRepository, MetadataRepository] = (yaml, json)
    _formats: tuple[YamlMetadataRepository, JsonMetadataRepository] = (yaml, json)
    _both: tuple[S3BucketRepository, S3BucketRepository] = (yaml, json)
    for each in (blobs, yaml, json):
        _list: CanList = each
        _contain: CanContain = each
        _delete: CanDelete = each
        _info: CanInfo = each
        _open: CanOpen = each
        _watch: CanWatch = each
    _dump: tuple[CanDump, CanDump] = (yaml, json)


async def types(blobs: S3BucketRepository, yaml: YamlMetadataS3Repository) -> None:
    assert_type(await blobs.info("job"), S3BucketInfo)
    assert_type(await blobs.contains("job"), bool)
    assert_type(blobs.__aiter__(), AsyncIterator[str])
    assert_type(await blobs.open("job"), TextReader)
    assert_type(await blobs.open("job", "r"), TextReader)
    assert_type(await blobs.open("job", "rb"), BlobReader)
    assert_type(await blobs.open("job", "w"), TextWriter)
    assert_type(await blobs.open("job", "wb"), BlobWriter)
    assert_type(await yaml.create("job", {}), bool)
    _streams: tuple[ReadText, ReadStream, WriteText, WriteStream] = (
        await blobs.open("job", "r"),
        await blobs.open("job", "rb"),
        await blobs.open("job", "w"),
        await blobs.open("job", "wb"),
    )


def clients(session: Session, client: S3Client) -> None:
    async def factory() -> AsyncGenerator[S3Client, None]:
        yield client

    S3BucketRepository(session.resource(factory), "bucket")
    S3BucketRepository(lambda: client, "bucket", ".txt", prefix="raw/")
