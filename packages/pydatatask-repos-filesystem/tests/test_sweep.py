"""What validating deletes, and what it leaves alone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydatatask_core.repository.changes import Added, KeyEvent
from pydatatask_repos_filesystem import DirectoryRepository, FileRepository
from pydatatask_repos_filesystem.names import Names, parsed
from pydatatask_repos_filesystem.sweep import DAY

OURS = ".pdt-{kind}-0123456789abcdef01234567.1f~job"
HOUR = 3600

AsNobody = Callable[[], AbstractContextManager[None]]


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


async def test_only_names_of_ours_are_swept(tmp_path: Path) -> None:
    foreign = [
        ".hidden",
        ".pdt-",
        ".pdt-new-",
        ".pdt-new-0123.0~job",
        ".pdt-odd-0123456789abcdef01234567.0~job",
        ".pdt-new-0123456789ABCDEF01234567.0~job",
        ".pdt-new-0123456789abcdef01234567.0~",
        "pdt-new-0123456789abcdef01234567.0~job",
        "job",
    ]
    ours = [OURS.format(kind=kind) for kind in ("new", "gone")]
    for name in (*foreign, *ours):
        (tmp_path / name).touch()
        age(tmp_path / name, DAY + HOUR)
    await FileRepository(tmp_path).validate()
    assert sorted(os.listdir(tmp_path)) == sorted(foreign)


async def test_a_leftover_stays_for_a_day(tmp_path: Path) -> None:
    for name, seconds in (("a", DAY - HOUR), ("b", DAY + HOUR), ("c", 0.0), ("d", -HOUR)):
        path = tmp_path / OURS.format(kind="new").replace("job", name)
        path.mkdir()
        (path / "leaf").touch()
        age(path, seconds)
    await DirectoryRepository(tmp_path).validate()
    assert sorted(name[-1] for name in os.listdir(tmp_path)) == ["a", "c", "d"]


async def test_every_repository_sweeps_files_directories_and_links_but_not_what_links_point_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "leaf").touch()
    folder = tmp_path / "folder"
    (folder / OURS.format(kind="new")).mkdir(parents=True)
    (folder / OURS.format(kind="gone")).symlink_to(precious)
    (folder / (OURS.format(kind="new") + "2")).touch()
    os.mkfifo(folder / (OURS.format(kind="new") + "3"))
    for path in folder.iterdir():
        age(path, DAY + HOUR)
    await FileRepository(folder).validate()
    assert os.listdir(folder) == []
    assert os.listdir(precious) == ["leaf"]


async def test_a_directory_that_was_replaced_is_swept_at_once_so_that_it_never_comes_back(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "new").touch()
    old = tmp_path / OURS.format(kind="old")
    old.mkdir()
    (old / "old").touch()
    repo = DirectoryRepository(tmp_path)
    await repo.validate()
    await repo.delete("job")
    await repo.validate()
    assert os.listdir(tmp_path) == []


async def test_bringing_a_directory_back_is_announced(tmp_path: Path) -> None:
    (tmp_path / (OURS.format(kind="old") + ".d")).mkdir()
    repo = DirectoryRepository(tmp_path, ".d")
    heard: list[KeyEvent] = []
    with repo.changes.listening(heard.append):
        await repo.validate()
    assert heard == [Added("job")]
    assert await repo.contains("job")


async def test_what_cannot_be_swept_is_told_and_harms_nothing(
    open_folder: Path, as_nobody: AsNobody, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = open_folder / OURS.format(kind="new")
    stuck.mkdir()
    (stuck / "leaf").touch()
    stuck.chmod(0o555)
    age(stuck, DAY + HOUR)
    with as_nobody(), caplog.at_level(logging.WARNING, "pydatatask.repository"):
        await DirectoryRepository(open_folder).validate()
    stuck.chmod(0o755)
    (message,) = caplog.messages
    assert str(stuck) in message
    assert "denied" in message
    assert (stuck / "leaf").exists()


FORK = """
import os
from pydatatask_repos_filesystem.names import Names
child = os.fork()
if child:
    os.waitpid(child, 0)
print(Names("files:/a/*").owner, flush=True)
"""


def test_hidden_names_are_never_given_twice_and_differ_between_processes_and_locations() -> None:
    names = Names("files:/a/*")
    one, two = names.fresh("new", "job"), names.fresh("new", "job")
    assert one != two
    taken = parsed(one)
    assert taken is not None
    assert (taken.kind, taken.owner, taken.name) == ("new", names.owner, "job")
    assert Names("files:/b/*").owner != names.owner
    forked = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    assert len({names.owner, *forked.stdout.split()}) == 3
