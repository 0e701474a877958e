"""Replacing directories where the system cannot exchange names, and what is on the way in both cases."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydatatask_core.errors import ConflictError
from pydatatask_repos_filesystem import DirectoryRepository, directories
from pydatatask_repos_filesystem.exchange import exchange
from pydatatask_repos_filesystem.folder import Folder
from pydatatask_repos_filesystem.tree import Stage, replace


def refuse(one: str, other: str) -> bool:
    """Stand for a file system that cannot exchange."""
    return False


@pytest.fixture(params=["exchange", "two renames"])
def repo(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryRepository:
    if request.param == "two renames":
        monkeypatch.setattr(directories, "exchange", refuse)
    return DirectoryRepository(tmp_path)


async def publish(repo: DirectoryRepository, job: str, text: str) -> None:
    async with repo.stage(job) as stage:
        (stage / "leaf").write_text(text)


async def test_a_directory_is_replaced_and_nothing_is_left_of_the_old_one(repo: DirectoryRepository) -> None:
    for text in ("one", "two", "three"):
        await publish(repo, "job", text)
        assert (repo.fullpath("job") / "leaf").read_text() == text
        assert os.listdir(repo.basedir) == ["job"]


async def test_an_empty_directory_and_a_link_are_replaced(repo: DirectoryRepository, tmp_path: Path) -> None:
    await repo.mkdir("empty")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "leaf").write_text("precious")
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "dangling").symlink_to("nowhere")
    for job in ("empty", "link", "dangling"):
        await publish(repo, job, job)
        assert (tmp_path / job / "leaf").read_text() == job
        assert not (tmp_path / job).is_symlink()
    assert (tmp_path / "elsewhere" / "leaf").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "elsewhere", "empty", "link"]


async def test_a_file_in_the_way_stays(repo: DirectoryRepository, tmp_path: Path) -> None:
    (tmp_path / "job").write_text("precious")
    with pytest.raises(ConflictError):
        await publish(repo, "job", "new")
    assert (tmp_path / "job").read_text() == "precious"
    assert os.listdir(tmp_path) == ["job"]


def test_exchange_swaps_two_names_at_once(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").write_text("file")
    if not exchange(str(tmp_path / "one"), str(tmp_path / "two")):
        pytest.skip("kernel or file system cannot exchange names")
    assert (tmp_path / "one").read_text() == "file"
    assert (tmp_path / "two").is_dir()
    with pytest.raises(FileNotFoundError):
        exchange(str(tmp_path / "one"), str(tmp_path / "absent"))


def make_folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path), "", directories=True, any_case=False, nonempty=False, durable=False)


def test_a_directory_that_others_publish_between_the_two_renames_is_replaced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path)
    stage, target = tmp_path / ".stage", tmp_path / "job"
    for directory, text in ((stage, "ours"), (target, "old")):
        directory.mkdir()
        (directory / "leaf").write_text(text)
    rename = os.rename

    def meddle(source: str, destination: str) -> None:
        rename(source, destination)
        if source == str(target) and not target.exists() and not (tmp_path / ".theirs").exists():
            target.mkdir()
            (target / "leaf").write_text("theirs")
            (tmp_path / ".theirs").touch()

    monkeypatch.setattr(os, "rename", meddle)
    before = replace(folder, str(stage), str(target), refuse)
    assert (target / "leaf").read_text() == "ours"
    assert {Path(path, "leaf").read_text() for path in before} == {"old", "theirs"}


def test_a_failure_of_the_second_rename_puts_the_old_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "leaf").write_text("old")
    stage = Stage(make_folder(tmp_path), "job", refuse)
    rename = os.rename

    def fail(source: str, destination: str) -> None:
        if source == stage.path and not (tmp_path / "job").exists():
            raise PermissionError(13, "denied on purpose")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(PermissionError):
        stage.publish()
    assert (tmp_path / "job" / "leaf").read_text() == "old"
    stage.discard()
    assert os.listdir(tmp_path) == ["job"]


def test_a_directory_that_vanishes_while_it_is_replaced_leaves_its_name_free(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "leaf").touch()

    def vanish(one: str, other: str) -> bool:
        os.unlink(os.path.join(other, "leaf"))
        os.rmdir(other)
        return exchange(one, other)

    stage = Stage(make_folder(tmp_path), "job", vanish)
    assert stage.publish().made
    assert os.listdir(tmp_path / "job") == []
    assert os.listdir(tmp_path) == ["job"]
