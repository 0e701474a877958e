"""Files and folders of this machine that scripts read and make."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository, PathRepository, Pipeline, Resources
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.runs.site import RunName
from pydatatask_exec_docker import ContainerTask, DockerManager
from typing_extensions import override


class Folder(PathRepository):
    """Files or folders beside one another, as simple as can be."""

    def __init__(self, path: Path, holds_folders: bool = False) -> None:
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
        return await asyncio.to_thread(self._publish, job, Path(path))

    def _publish(self, job: str, source: Path) -> bool:
        if source.is_dir():
            (self.path / job).mkdir()
            for found in source.iterdir():
                (self.path / job / found.name).write_bytes(found.read_bytes())
        elif source.exists():
            (self.path / job).write_bytes(source.read_bytes())
        return source.exists()


@pytest.mark.parametrize("code", [0, 1], ids=["success", "failure"])
async def test_outputs_are_published_after_success_and_inputs_cannot_be_changed(
    app: App, manager: DockerManager, tmp_path: Path, code: int
) -> None:
    session, engine = engine_of(manager)
    texts, copies, parts = Folder(tmp_path / "texts"), Folder(tmp_path / "copies"), Folder(tmp_path / "parts", True)
    (texts.path / "one").write_text("a text\n")
    out, done = InProcessBlobRepository(), InProcessMetadataRepository()
    script = (
        "cat {{ text }} > {{ copy }}; echo more >> {{ text }} || echo refused; echo a > {{ parts }}/a; "
        f"ls $(dirname {{{{ text }}}}); exit {code}"
    )
    task = ContainerTask("files", engine, None, Resources(), BUSYBOX, script, done=done, stdout=out)
    task.link("text", texts, is_input=True)
    task.link("copy", copies, is_output=True)
    task.link("parts", parts, is_output=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert out.data == {"one": b"refused\none\n"}
    assert (texts.path / "one").read_text() == "a text\n"
    published = {str(path.relative_to(tmp_path)): path.read_text() for path in copies.path.rglob("*")}
    assert published == ({} if code else {"copies/one": "a text\n"})
    assert [path.name for path in parts.path.rglob("*")] == ([] if code else ["one", "a"])
    assert list((tmp_path / "outputs" / app.name).iterdir()) == []
    assert app.all() == []


async def test_an_input_that_is_not_there_fails_the_launch_and_makes_nothing(
    app: App, manager: DockerManager, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session, engine = engine_of(manager)
    texts = Folder(tmp_path / "texts")
    task = ContainerTask(
        "files", engine, None, Resources(), BUSYBOX, "cat {{ text }}", done=InProcessMetadataRepository()
    )
    task.link("text", texts, is_input=True, required_for_start=False)
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert caplog.text.count("could not be run on job one") == 1
    assert "does not exist" in caplog.text
    assert list(texts.path.iterdir()) == []
    assert app.all() == []


async def test_outputs_are_deleted_with_what_has_ended_and_before_their_container(
    app: App, manager: DockerManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, engine = engine_of(manager)
    task = ContainerTask(
        "files", engine, None, Resources(), BUSYBOX, "sleep 60", done=InProcessMetadataRepository(), grace=0
    )
    task.link("copy", Folder(tmp_path / "copies"), is_output=True)
    folders = tmp_path / "outputs" / app.name
    run = RunName("files", "one", 1)

    async def fail(container: str, *, force: bool = False) -> None:
        raise SiteUnavailableError("The controller dies here.")

    async with session:
        claimed = await manager.claim(run, "me", await task.make(run))
        assert claimed is not None
        await manager.start(run)
        with pytest.raises(SiteUnavailableError, match="removed when it has ended"):
            await manager.release("files", "one")
        assert len(list(folders.iterdir())) == 1
        await manager.cancel(claimed, "dropped")
        await manager.engine.wait(claimed.claim, 60)
        with monkeypatch.context() as patch:
            patch.setattr(manager.engine, "remove", fail)
            with pytest.raises(SiteUnavailableError, match="dies here"):
                await manager.release("files", "one")
        assert list(folders.iterdir()) == []
        assert len(app.all()) == 1
        await manager.release("files", "one")

    assert app.all() == []


async def test_old_folders_without_containers_are_swept(app: App, manager: DockerManager, tmp_path: Path) -> None:
    old, young = (tmp_path / "outputs" / app.name / name for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))

    await manager.sweep()

    assert not old.exists()
    assert young.exists()


async def test_a_script_sees_the_inputs_that_it_or_a_variable_names_and_itself(
    app: App, manager: DockerManager, tmp_path: Path
) -> None:
    session, engine = engine_of(manager)
    out = InProcessBlobRepository()
    script = 'ls /pydatatask/in; cat "$FILE"; tail -n 1 {{ argv0 }} # itself'
    task = ContainerTask(
        "files",
        engine,
        None,
        Resources(),
        BUSYBOX,
        script,
        environ={"FILE": "{{ text }}"},
        done=InProcessMetadataRepository(),
        stdout=out,
    )
    for name in ("text", "other"):
        folder = Folder(tmp_path / name)
        (folder.path / "one").write_text(f"a {name}\n")
        task.link(name, folder, is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    first, second, itself = out.data["one"].decode().split("\n")
    assert (first, second) == ("text", "a text")
    assert itself.endswith("# itself")
