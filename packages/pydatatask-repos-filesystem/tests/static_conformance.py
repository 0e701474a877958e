"""For mypy: each class is assignable to what it claims to be."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import assert_type

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
from pydatatask_core.streams import BlobReader, BlobWriter, ReadStream, TextReader, TextWriter, WriteStream
from pydatatask_repos_filesystem import (
    DirectoryRepository,
    FileRepository,
    JsonMetadataFileRepository,
    YamlMetadataFileRepository,
)
from pydatatask_repos_filesystem.streams import FileReader, FileWriter


def every_repository(repo: FileRepository | DirectoryRepository) -> None:
    _repository: Repository = repo
    _list: CanList = repo
    _contain: CanContain = repo
    _delete: CanDelete = repo
    _info: CanInfo = repo
    _watch: CanWatch = repo
    assert_type(repo.fullpath("job"), Path)


async def files(repo: FileRepository) -> None:
    _blobs: BlobRepository = repo
    _streams: StreamRepository = repo
    _open: CanOpen = repo
    assert_type(await repo.info("job"), str)
    assert_type(await repo.open("job"), TextReader)
    assert_type(await repo.open("job", "rb"), BlobReader)
    assert_type(await repo.open("job", "w"), TextWriter)
    assert_type(await repo.open("job", "wb"), BlobWriter)


async def directories(repo: DirectoryRepository) -> None:
    assert_type(await repo.info("job"), str)
    _stage: AbstractAsyncContextManager[Path] = repo.stage("job")


def metadata(repo: YamlMetadataFileRepository | JsonMetadataFileRepository) -> None:
    _metadata: MetadataRepository = repo
    _dump: CanDump = repo
    _files: FileRepository = repo


def streams(reader: FileReader, writer: FileWriter) -> None:
    _read: ReadStream = reader
    _write: WriteStream = writer


FileRepository("folder", ".txt", True, durable=True)
FileRepository(Path("folder"))
DirectoryRepository("folder", ".d", True, True, durable=True)
YamlMetadataFileRepository("folder", ".yml", True, durable=True)
JsonMetadataFileRepository("folder", ".json", True, durable=True)
