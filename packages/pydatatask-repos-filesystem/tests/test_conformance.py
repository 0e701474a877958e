"""Files and directories keep every promise that all repositories make."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from pydatatask_core.testing import BlobRepositoryTests, CreatingRepositoryTests, RepositoryTests
from pydatatask_core.testing.suite import Suite
from pydatatask_repos_filesystem import (
    DirectoryRepository,
    FileRepository,
    JsonMetadataFileRepository,
    YamlMetadataFileRepository,
)
from typing_extensions import override

F = TypeVar("F", bound=FileRepository)
_numbers = itertools.count()


class FileSuite(Suite[F]):
    """The back door: files that are put into the folder by rename, as a careful program would."""

    watches = True

    @override
    async def peek(self, repo: F, job: str) -> Any:
        path = repo.basedir / f"{job}{repo.extension}"
        return path.read_bytes() if path.exists() else None

    @override
    async def poke(self, repo: F, job: str, value: Any) -> None:
        await self.poke_raw(repo, job, value)

    @override
    async def poke_raw(self, repo: F, key: str, raw: Any) -> None:
        hidden = repo.basedir / f".by-hand-{next(_numbers)}"
        hidden.write_bytes(raw)
        hidden.rename(repo.basedir / f"{key}{repo.extension}")

    @override
    async def pluck(self, repo: F, job: str) -> None:
        (repo.basedir / f"{job}{repo.extension}").unlink()


class TestFiles(FileSuite[FileRepository], BlobRepositoryTests[FileRepository]):
    @pytest.fixture
    async def repo(self, tmp_path: Path) -> FileRepository:
        repo = FileRepository(tmp_path / "files")
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: FileRepository) -> FileRepository:
        return FileRepository(repo.basedir)


@pytest.mark.slow
class TestFilesWithExtension(FileSuite[FileRepository], BlobRepositoryTests[FileRepository]):
    many = 1010

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> FileRepository:
        repo = FileRepository(tmp_path / "files", ".tar.gz", True)
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: FileRepository) -> FileRepository:
        link = repo.basedir.parent / "link"
        link.symlink_to(repo.basedir)
        return FileRepository(link, ".tar.gz", True)


@pytest.mark.slow
class TestDurableFiles(FileSuite[FileRepository], BlobRepositoryTests[FileRepository]):
    big = 8 * 1024 * 1024

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> FileRepository:
        repo = FileRepository(tmp_path / "files", durable=True)
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: FileRepository) -> FileRepository:
        return FileRepository(str(repo.basedir))


class TestYaml(FileSuite[YamlMetadataFileRepository], CreatingRepositoryTests[YamlMetadataFileRepository]):
    absent_info = "missing"

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> YamlMetadataFileRepository:
        repo = YamlMetadataFileRepository(tmp_path / "data")
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: YamlMetadataFileRepository) -> YamlMetadataFileRepository:
        return YamlMetadataFileRepository(repo.basedir)

    @override
    async def peek(self, repo: YamlMetadataFileRepository, job: str) -> Any:
        raw = await super().peek(repo, job)
        return None if raw is None else yaml.safe_load(raw)

    @override
    async def poke(self, repo: YamlMetadataFileRepository, job: str, value: Any) -> None:
        await self.poke_raw(repo, job, yaml.safe_dump(value).encode())


@pytest.mark.slow
class TestJson(FileSuite[JsonMetadataFileRepository], CreatingRepositoryTests[JsonMetadataFileRepository]):
    absent_info = "missing"

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> JsonMetadataFileRepository:
        repo = JsonMetadataFileRepository(tmp_path / "data")
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: JsonMetadataFileRepository) -> JsonMetadataFileRepository:
        return JsonMetadataFileRepository(repo.basedir)

    @override
    async def peek(self, repo: JsonMetadataFileRepository, job: str) -> Any:
        raw = await super().peek(repo, job)
        return None if raw is None else json.loads(raw)

    @override
    async def poke(self, repo: JsonMetadataFileRepository, job: str, value: Any) -> None:
        await self.poke_raw(repo, job, json.dumps(value).encode())


@pytest.mark.slow
class TestYamlAsFiles(FileSuite[YamlMetadataFileRepository], BlobRepositoryTests[YamlMetadataFileRepository]):
    """Metadata in files is bytes in files too."""

    absent_info = "missing"
    big = 8 * 1024 * 1024

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> YamlMetadataFileRepository:
        repo = YamlMetadataFileRepository(tmp_path / "data", ".yml", durable=False)
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: YamlMetadataFileRepository) -> YamlMetadataFileRepository:
        return YamlMetadataFileRepository(repo.basedir, ".yml")


class DirectorySuite(RepositoryTests[DirectoryRepository]):
    """A value is the bytes of one file in the directory."""

    writable = True
    watches = True
    absent_info = "given"

    @override
    async def put(self, repo: DirectoryRepository, job: str, value: bytes) -> None:
        async with repo.stage(job) as directory:
            (directory / "value").write_bytes(value)

    @override
    async def peek(self, repo: DirectoryRepository, job: str) -> bytes | None:
        path = repo.basedir / f"{job}{repo.extension}"
        return (path / "value").read_bytes() if path.exists() else None

    @override
    async def poke(self, repo: DirectoryRepository, job: str, value: bytes) -> None:
        await self.poke_raw(repo, job, value)

    @override
    async def poke_raw(self, repo: DirectoryRepository, key: str, raw: bytes) -> None:
        number = next(_numbers)
        target = repo.basedir / f"{key}{repo.extension}"
        hidden, old = repo.basedir / f".by-hand-{number}", repo.basedir / f".old-{number}"
        hidden.mkdir()
        (hidden / "value").write_bytes(raw)
        if target.exists():
            os.rename(target, old)
        os.rename(hidden, target)

    @override
    async def pluck(self, repo: DirectoryRepository, job: str) -> None:
        shutil.rmtree(repo.basedir / f"{job}{repo.extension}")


@pytest.mark.slow
class TestDirectories(DirectorySuite):
    @pytest.fixture
    async def repo(self, tmp_path: Path) -> DirectoryRepository:
        repo = DirectoryRepository(tmp_path / "trees")
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: DirectoryRepository) -> DirectoryRepository:
        return DirectoryRepository(repo.basedir)


@pytest.mark.slow
class TestDirectoriesThatAreNotEmpty(DirectorySuite):
    watches = False

    @pytest.fixture
    async def repo(self, tmp_path: Path) -> DirectoryRepository:
        repo = DirectoryRepository(tmp_path / "trees", ".d", False, True, durable=True)
        await repo.validate()
        return repo

    @override
    async def twin(self, repo: DirectoryRepository) -> DirectoryRepository:
        return DirectoryRepository(repo.basedir, ".d", discard_empty=True)
