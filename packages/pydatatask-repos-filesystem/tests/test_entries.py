"""Which entries of a folder are jobs, by name and by kind, and what happens to those that are not."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from pydatatask_core.errors import ConfigurationError, ConflictError, MissingJobError, StoreUnavailableError
from pydatatask_core.repository.changes import Added, KeyEvent, Removed
from pydatatask_core.repository.protocols import Repository
from pydatatask_repos_filesystem import (
    DirectoryRepository,
    FileRepository,
    JsonMetadataFileRepository,
    YamlMetadataFileRepository,
)


async def listed(repo: Repository) -> list[str]:
    jobs = sorted([job async for job in repo])
    assert sorted([job async for page in repo.versions() for job, _ in page]) == jobs
    for job in jobs:
        assert await repo.contains(job)
    return jobs


# constructors and paths


def test_positional_order_is_that_of_earlier_releases(tmp_path: Path) -> None:
    file = FileRepository(tmp_path, ".txt", True)
    assert (file.basedir, file.extension, file.case_insensitive, file.durable) == (tmp_path, ".txt", True, False)
    directory = DirectoryRepository(tmp_path, ".d", False, True)
    assert (directory.extension, directory.case_insensitive, directory.discard_empty) == (".d", False, True)
    assert YamlMetadataFileRepository(tmp_path).extension == ".yaml"
    assert YamlMetadataFileRepository(str(tmp_path), ".yml", True, durable=True).durable
    assert JsonMetadataFileRepository(tmp_path).extension == ".json"


async def test_info_and_fullpath_are_given_whether_or_not_the_job_is_there(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path / "never-made", ".txt")
    assert repo.fullpath("job") == tmp_path / "never-made" / "job.txt"
    assert await repo.info("job") == str(repo.fullpath("job"))
    trees = DirectoryRepository(tmp_path)
    assert await trees.info("job") == f"{tmp_path}/job"


async def test_a_relative_folder_is_taken_from_where_the_repository_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repo = FileRepository("files", ".txt")
    monkeypatch.chdir("/")
    assert await repo.info("job") == str(tmp_path / "files" / "job.txt")
    assert repr(repo) == f"<FileRepository {tmp_path}/files/*.txt>"


def test_the_location_is_folder_and_extension_however_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one = FileRepository(tmp_path / "real", ".yaml")
    assert FileRepository(str(tmp_path / "link"), ".yaml").location == one.location
    assert FileRepository(tmp_path / "x" / ".." / "real", ".yaml").location == one.location
    assert YamlMetadataFileRepository(tmp_path / "real", durable=True).location == one.location
    others = [
        FileRepository(tmp_path / "real", ".yml"),
        FileRepository(tmp_path / "other", ".yaml"),
        FileRepository(tmp_path / "real", ".yaml", True),
        DirectoryRepository(tmp_path / "real", ".yaml"),
        DirectoryRepository(tmp_path / "real", ".yaml", False, True),
    ]
    assert len({one.location, *(other.location for other in others)}) == 6


@pytest.mark.parametrize("extension", ["/x", "a/b", "\0", "." + "x" * 140])
def test_an_extension_that_cannot_end_a_file_name_is_refused(tmp_path: Path, extension: str) -> None:
    with pytest.raises(ConfigurationError, match="extension"):
        FileRepository(tmp_path, extension)


async def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    job, extension = "j" * 63, "." + "e" * 139
    files, trees = FileRepository(tmp_path, extension), DirectoryRepository(tmp_path, extension)
    async with await files.open(job, "wb") as writer:
        await writer.write(b"x" * 1_000_000)
    assert await listed(files) == [job]
    await files.delete(job)
    for _ in range(2):
        async with trees.stage(job):
            pass
    assert await listed(trees) == [job]


# kinds


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with one entry of every kind."""
    zoo, elsewhere = tmp_path / "zoo", tmp_path / "elsewhere"
    zoo.mkdir()
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"precious")
    (elsewhere / "tree").mkdir()
    (elsewhere / "tree" / "leaf").write_bytes(b"precious")
    (zoo / "file").write_bytes(b"file")
    (zoo / "tree").mkdir()
    (zoo / "file-link").symlink_to(elsewhere / "file")
    (zoo / "tree-link").symlink_to(elsewhere / "tree")
    (zoo / "dangling").symlink_to(elsewhere / "nothing")
    (zoo / "loop").symlink_to(zoo / "loop")
    os.mkfifo(zoo / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(zoo / "socket"))
    return zoo


KINDS = {"file", "tree", "file-link", "tree-link", "dangling", "loop", "pipe", "socket"}


async def test_files_are_regular_files_and_links_to_them(zoo: Path) -> None:
    repo = FileRepository(zoo)
    assert await listed(repo) == ["file", "file-link"]
    for job in KINDS - {"file", "file-link"}:
        assert not await repo.contains(job)
        with pytest.raises(MissingJobError):
            await repo.open(job, "rb")
    async with await repo.open("file-link", "rb") as reader:
        assert await reader.read() == b"precious"


async def test_directories_are_directories_and_links_to_them(zoo: Path) -> None:
    repo = DirectoryRepository(zoo)
    assert await listed(repo) == ["tree", "tree-link"]
    for job in KINDS - {"tree", "tree-link"}:
        assert not await repo.contains(job)


@pytest.mark.parametrize("kind", [FileRepository, DirectoryRepository])
async def test_deleting_touches_nothing_that_is_no_job(
    zoo: Path, kind: Callable[[Path], FileRepository | DirectoryRepository]
) -> None:
    repo = kind(zoo)
    jobs = set(await listed(repo))
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        for job in sorted(KINDS):
            await repo.delete(job)
    assert heard == [Removed(job) for job in sorted(jobs)]
    assert set(os.listdir(zoo)) == KINDS - jobs
    assert (zoo.parent / "elsewhere" / "file").read_bytes() == b"precious"
    assert (zoo.parent / "elsewhere" / "tree" / "leaf").read_bytes() == b"precious"


async def test_writing_to_a_linked_job_replaces_the_link_and_not_what_it_points_to(zoo: Path) -> None:
    files, trees = FileRepository(zoo), DirectoryRepository(zoo)
    async with await files.open("file-link", "w") as writer:
        await writer.write("new")
    async with trees.stage("tree-link") as stage:
        (stage / "new").touch()
    assert (zoo / "file-link").read_bytes() == b"new"
    assert not (zoo / "file-link").is_symlink()
    assert os.listdir(zoo / "tree-link") == ["new"]
    assert not (zoo / "tree-link").is_symlink()
    assert (zoo.parent / "elsewhere" / "file").read_bytes() == b"precious"
    assert (zoo.parent / "elsewhere" / "tree" / "leaf").read_bytes() == b"precious"
    assert [name for name in os.listdir(zoo) if name.startswith(".")] == []


async def test_a_directory_in_the_way_of_a_file_is_a_conflict_and_stays(zoo: Path) -> None:
    repo = FileRepository(zoo)
    (zoo / "tree" / "leaf").touch()
    with pytest.raises(ConflictError, match="tree"):
        async with await repo.open("tree", "wb") as writer:
            await writer.write(b"x")
    with pytest.raises(ConflictError):
        async with await repo.open("tree", "wb") as writer:
            await writer.write(b"x" * 1_000_000)
    assert os.listdir(zoo / "tree") == ["leaf"]
    assert set(os.listdir(zoo)) == KINDS


async def test_a_file_in_the_way_of_a_directory_is_a_conflict_and_stays(zoo: Path) -> None:
    repo = DirectoryRepository(zoo)
    for job in ("file", "pipe"):
        with pytest.raises(ConflictError, match=job):
            async with repo.stage(job) as stage:
                (stage / "leaf").touch()
        with pytest.raises(ConflictError, match=job):
            await repo.mkdir(job)
    assert (zoo / "file").read_bytes() == b"file"
    assert set(os.listdir(zoo)) == KINDS


async def test_a_pipe_under_a_jobs_name_keeps_nobody_waiting(zoo: Path) -> None:
    repo = YamlMetadataFileRepository(zoo, "")
    with pytest.raises(MissingJobError, match="pipe"):
        await repo.info("pipe")


async def test_hidden_names_are_never_listed_nor_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    repo = FileRepository(tmp_path)
    (tmp_path / "job").touch()
    for name in (".hidden", ".pdt-new-0123456789abcdef01234567.0~job", "..a"):
        (tmp_path / name).touch()
    (tmp_path / "no job").touch()
    with caplog.at_level(logging.WARNING):
        assert await listed(repo) == ["job"]
        assert [key async for key in repo.unfiltered_iter()] in (["job", "no job"], ["no job", "job"])
    (warning,) = caplog.messages
    assert "skipped 1 " in warning


async def test_names_with_another_extension_are_no_jobs(tmp_path: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.txt.gz", "d", ".txt", "txt"):
        (tmp_path / name).touch()
    assert await listed(FileRepository(tmp_path, ".txt")) == ["a"]
    assert await listed(FileRepository(tmp_path)) == ["a.txt", "b.TXT", "c.txt.gz", "d", "txt"]


# case_insensitive


async def test_case_insensitive_takes_every_spelling_of_the_extension(tmp_path: Path) -> None:
    for name in ("low.txt", "UP.TXT", "mixed.tXt", "Job.Txt", "other.text"):
        (tmp_path / name).write_text(name)
    repo = FileRepository(tmp_path, ".Txt", True)
    assert await listed(repo) == ["Job", "UP", "low", "mixed"]
    async with await repo.open("mixed") as reader:
        assert await reader.read() == "mixed.tXt"


async def test_job_ids_keep_their_case(tmp_path: Path) -> None:
    (tmp_path / "job.TXT").touch()
    (tmp_path / "Job.txt").touch()
    repo = FileRepository(tmp_path, ".txt", True)
    assert await listed(repo) == ["Job", "job"]
    assert not await repo.contains("JOB")


async def test_several_spellings_of_one_job_are_one_key(tmp_path: Path) -> None:
    for name in ("job.TXT", "job.txt", "job.tXt", "two.TXT", "two.Txt"):
        (tmp_path / name).write_text(name)
    repo = FileRepository(tmp_path, ".txt", True)
    assert await listed(repo) == ["job", "two"]
    assert await repo.info_all() == {"job": f"{tmp_path}/job.txt", "two": f"{tmp_path}/two.txt"}
    async with await repo.open("job") as reader:
        assert await reader.read() == "job.txt"
    await repo.delete("job")
    assert await listed(repo) == ["two"]
    assert sorted(os.listdir(tmp_path)) == ["two.TXT", "two.Txt"]


async def test_a_new_value_takes_the_place_of_another_spelling(tmp_path: Path) -> None:
    (tmp_path / "job.TXT").touch()
    (tmp_path / "tree.D").mkdir()
    repo, trees = FileRepository(tmp_path, ".txt", True), DirectoryRepository(tmp_path, ".d", True)
    for size in (1, 1_000_000):
        async with await repo.open("job", "wb") as writer:
            await writer.write(b"x" * size)
        assert (tmp_path / "job.TXT").stat().st_size == size
    async with trees.stage("tree") as stage:
        (stage / "leaf").touch()
    await trees.mkdir("tree")
    assert sorted(os.listdir(tmp_path)) == ["job.TXT", "tree.D"]
    assert os.listdir(tmp_path / "tree.D") == ["leaf"]


async def test_metadata_is_found_in_any_spelling(tmp_path: Path) -> None:
    (tmp_path / "job.YAML").write_text("a: 1")
    repo = YamlMetadataFileRepository(tmp_path, ".yaml", True)
    assert await repo.info("job") == {"a": 1}
    await repo.dump("job", {"a": 2})
    assert (tmp_path / "job.YAML").read_text() == "a: 2\n"
    assert await repo.info_all() == {"job": {"a": 2}}


def test_case_insensitive_has_a_bound(tmp_path: Path) -> None:
    FileRepository(tmp_path, ".tar.gz-2024", True)
    with pytest.raises(ConfigurationError, match="letters"):
        FileRepository(tmp_path, ".abcdefghi", True)


# discard_empty


async def test_an_empty_directory_is_a_job_unless_discarded(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "leaf").touch()
    assert await listed(DirectoryRepository(tmp_path)) == ["empty", "full"]
    repo = DirectoryRepository(tmp_path, discard_empty=True)
    assert await listed(repo) == ["full"]
    assert not await repo.contains("empty")
    await repo.delete("empty")
    assert (tmp_path / "empty").is_dir()


async def test_publishing_an_empty_directory_announces_that_it_is_no_job(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path, discard_empty=True)
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        async with repo.stage("job") as stage:
            (stage / "leaf").touch()
        async with repo.stage("job"):
            pass
        await repo.mkdir("other")
    assert heard == [Added("job"), Removed("job"), Removed("other")]
    assert await listed(repo) == []


# direct access


async def test_mkdir_makes_the_directory_and_keeps_one_that_is_there(tmp_path: Path) -> None:
    repo = DirectoryRepository(tmp_path)
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        await repo.mkdir("job")
        (repo.fullpath("job") / "leaf").touch()
        await repo.mkdir("job")
    assert os.listdir(tmp_path / "job") == ["leaf"]
    assert heard == [Added("job"), Added("job")]


# the folder


async def test_validate_makes_the_folder_and_those_above_it(tmp_path: Path) -> None:
    for durable in (False, True):
        repo = FileRepository(tmp_path / str(durable) / "b" / "c", durable=durable)
        await repo.validate()
        await repo.validate()
        assert repo.basedir.is_dir()


async def test_a_folder_that_was_never_made_reads_as_empty_and_reading_does_not_make_it(tmp_path: Path) -> None:
    yaml, trees = YamlMetadataFileRepository(tmp_path / "a" / "b"), DirectoryRepository(tmp_path / "a" / "c")
    for repo in (yaml, trees):
        assert await listed(repo) == []
        assert await repo.info_all() == {}
        assert not await repo.contains("job")
        await repo.delete("job")
    with pytest.raises(MissingJobError):
        await yaml.info("job")
    with pytest.raises(MissingJobError):
        await yaml.open("job")
    assert not (tmp_path / "a").exists()


async def test_writing_does_not_make_the_folder_and_says_what_does(tmp_path: Path) -> None:
    yaml, trees = YamlMetadataFileRepository(tmp_path / "a"), DirectoryRepository(tmp_path / "b")
    with pytest.raises(StoreUnavailableError, match=r"validate\(\)"):
        await yaml.dump("job", {})
    with pytest.raises(StoreUnavailableError, match=r"does not exist"):
        async with await yaml.open("job", "wb") as writer:
            await writer.write(b"x" * 1_000_000)
    with pytest.raises(StoreUnavailableError, match=r"does not exist"):
        async with trees.stage("job"):
            raise AssertionError("there is no stage")
    with pytest.raises(StoreUnavailableError, match=r"does not exist"):
        await trees.mkdir("job")
    with pytest.raises(StoreUnavailableError, match=r"does not exist"):
        async with yaml.watch():
            raise AssertionError("there is nothing to watch")
    assert os.listdir(tmp_path) == []


async def test_a_folder_that_vanished_never_looks_empty(tmp_path: Path) -> None:
    yaml, trees = YamlMetadataFileRepository(tmp_path / "a"), DirectoryRepository(tmp_path / "b")
    verbs: list[Callable[[], Awaitable[object]]] = []
    for repo in (yaml, trees):
        await repo.validate()
        verbs += [partial(listed, repo), repo.info_all, partial(repo.contains, "job"), partial(repo.delete, "job")]
    verbs += [
        partial(yaml.info, "job"),
        partial(yaml.dump, "job", {}),
        partial(yaml.open, "job", "rb"),
        partial(trees.mkdir, "job"),
    ]
    for name in ("a", "b"):
        (tmp_path / name).rename(tmp_path / f"{name}-away")
    for verb in verbs:
        with pytest.raises(StoreUnavailableError, match="not there any more") as caught:
            await verb()
        assert str(tmp_path) in str(caught.value)
    (tmp_path / "a-away").rename(tmp_path / "a")
    assert await listed(yaml) == []
    await trees.validate()
    assert await listed(trees) == []


async def test_a_folder_that_is_deleted_while_it_is_listed_is_an_error(tmp_path: Path) -> None:
    repo = FileRepository(tmp_path / "files")
    await repo.validate()
    for n in range(1500):
        (repo.basedir / f"job{n}").touch()

    async def list_while(meddle: Callable[[], object]) -> None:
        async for _ in repo.pages():
            if not (tmp_path / "away").exists():
                repo.basedir.rename(tmp_path / "away")
                meddle()

    with pytest.raises(StoreUnavailableError, match="not there any more"):
        await list_while(lambda: None)
    (tmp_path / "away").rename(repo.basedir)
    with pytest.raises(StoreUnavailableError, match="replaced"):
        await list_while(repo.basedir.mkdir)


async def test_a_file_in_place_of_the_folder_is_a_configuration_error_and_never_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        repo = FileRepository(path)
        with pytest.raises(ConfigurationError, match="no folder"):
            await repo.validate()
        with pytest.raises(StoreUnavailableError):
            await listed(repo)
        with pytest.raises(StoreUnavailableError):
            await repo.contains("job")
        with pytest.raises(StoreUnavailableError):
            await repo.open("job", "rb")
