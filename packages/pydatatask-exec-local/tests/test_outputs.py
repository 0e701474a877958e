"""Files and folders of this machine that scripts make: published after success, from a place of their own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydatatask_core import (
    STDOUT,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    PathRepository,
    Pipeline,
    ProcessTask,
    Resources,
    Retries,
    Session,
)
from pydatatask_exec_local import LocalLinuxManager
from typing_extensions import override


class Shelf(PathRepository):
    """Files or folders beside one another, as simple as can be."""

    def __init__(self, path: Path, holds_folders: bool) -> None:
        path.mkdir()
        self.path = path
        self._folders = holds_folders

    @property
    @override
    def holds_folders(self) -> bool:
        return self._folders

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for found in await asyncio.to_thread(lambda: list(self.path.iterdir())):
            yield found.name

    @override
    async def info(self, job: str, /) -> str:
        return str(self.path / job)

    @override
    async def delete(self, job: str, /) -> None:
        raise NotImplementedError

    @override
    async def publish(self, job: str, path: str, /) -> bool:
        return await asyncio.to_thread(self._publish, Path(path), self.path / job)

    @staticmethod
    def _publish(source: Path, target: Path) -> bool:
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copy(source, target)
        return source.exists()


def task_of(tmp_path: Path, script: str, **options: Any) -> tuple[Pipeline, ProcessTask]:
    session = Session()

    @session.resource
    async def machine() -> AsyncIterator[LocalLinuxManager]:
        yield LocalLinuxManager("app", tmp_path / "base")

    done = InProcessMetadataRepository()
    task = ProcessTask("task", machine, None, Resources(), InProcessMetadataRepository(), script, done=done, **options)
    task.link("inputs", InProcessMetadataRepository({"job": {}}), is_input=True)
    return Pipeline([task], session), task


def found(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("code", "published"), [(0, True), (1, False)], ids=["success", "failure"])
async def test_files_and_folders_are_published_after_success_alone(tmp_path: Path, code: int, published: bool) -> None:
    # The place of a file is free, and the folder is there.
    script = f"[ ! -e {{{{ file }}}} ] && echo a > {{{{ file }}}} && echo b > {{{{ folder }}}}/name && exit {code}"
    pipeline, task = task_of(tmp_path, script)
    task.link("file", Shelf(tmp_path / "files", holds_folders=False), is_output=True)
    task.link("folder", Shelf(tmp_path / "folders", holds_folders=True), is_output=True)
    async with pipeline:
        await pipeline.run()
    assert found(tmp_path / "files") == ({"job": "a\n"} if published else {})
    assert found(tmp_path / "folders") == ({"job/name": "b\n"} if published else {})


async def test_what_a_failed_attempt_made_is_not_published_with_the_next_one(tmp_path: Path) -> None:
    script = "echo {{ attempt }} > {{ folder }}/{{ attempt }}; [ {{ attempt }} = 2 ]"
    pipeline, task = task_of(tmp_path, script, retries=Retries(1, delay=0))
    task.link("folder", Shelf(tmp_path / "folders", holds_folders=True), is_output=True)
    async with pipeline:
        await pipeline.run()
    assert found(tmp_path / "folders") == {"job/2": "2\n"}


async def test_files_that_are_read_are_named_where_they_are(tmp_path: Path) -> None:
    stdout = InProcessBlobRepository()
    pipeline, task = task_of(tmp_path, "cat {{ text }}", stdout=stdout)
    task.link("text", Shelf(tmp_path / "texts", holds_folders=False), is_input=True)
    (tmp_path / "texts" / "job").write_text("text\n")
    async with pipeline:
        await pipeline.run()
    assert stdout.data == {"job": b"text\n"}


def test_what_is_stored_of_a_stream_is_known(tmp_path: Path) -> None:
    out, err = InProcessBlobRepository(), InProcessBlobRepository()
    _, apart = task_of(tmp_path, "true", stdout=out, stderr=err)
    assert (apart.stored_output("stdout"), apart.stored_output("stderr")) == (out, err)
    _, together = task_of(tmp_path, "true", stdout=out, stderr=STDOUT)
    assert (together.stored_output("stdout"), together.stored_output("stderr")) == (out, out)
    _, neither = task_of(tmp_path, "true")
    assert (neither.stored_output("stdout"), neither.stored_output("stderr")) == (None, None)
