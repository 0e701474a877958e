"""Values that programs made elsewhere on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydatatask_core import ConfigurationError
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository


async def test_publish_copies_a_file_and_leaves_it(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path / "repo", ".bin")
    await repo.validate()
    made = tmp_path / "made"
    made.write_bytes(os.urandom(1_000_000))
    assert await repo.publish("a", str(made))
    async with await repo.open("a", "rb") as value:
        assert await value.read() == made.read_bytes()
    with made.open("ab") as still_writing:
        still_writing.write(b"more")
    assert (tmp_path / "repo" / "a.bin").stat().st_size == 1_000_000


async def test_publish_copies_a_folder_with_all_that_is_in_it(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path / "repo")
    await repo.validate()
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "deep" / "file").write_text("text")
    (tmp_path / "made" / "link").symlink_to("deep/file")
    (tmp_path / "made").chmod(0o700)
    await repo.mkdir("a")
    assert await repo.publish("a", str(tmp_path / "made"))
    assert (tmp_path / "repo" / "a" / "link").read_text() == "text"
    assert (tmp_path / "repo" / "a" / "link").is_symlink()


@pytest.mark.parametrize("kind", [FileRepository, DirectoryRepository])
async def test_publish_of_nothing_does_nothing(
    tmp_path: Path, kind: type[FileRepository] | type[DirectoryRepository]
) -> None:
    repo = kind(tmp_path / "repo")
    await repo.validate()
    assert not await repo.publish("a", str(tmp_path / "made"))
    assert not await repo.contains("a")


async def test_publish_of_the_wrong_kind_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    files, folders = FileRepository(tmp_path / "files"), DirectoryRepository(tmp_path / "folders")
    await files.validate()
    await folders.validate()
    with pytest.raises(ConfigurationError, match="no regular file"):
        await files.publish("a", str(tmp_path / "folder"))
    with pytest.raises(ConfigurationError, match="no folder"):
        await folders.publish("a", str(tmp_path / "file"))
    assert not list((tmp_path / "files").iterdir())
    assert not list((tmp_path / "folders").iterdir())
