"""Images come from a registry when they are wanted, on a real engine with a registry of its own."""

from __future__ import annotations

import io
import tarfile
import time
import urllib.request
from collections.abc import Iterator

import docker  # type: ignore[import-untyped]  # it has no type information
import pytest
from attrs import frozen
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import (
    ConfigurationError,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Resources,
    SiteUnavailableError,
)
from pydatatask_core.runs.site import RunName
from pydatatask_core.testing.services import service_setting
from pydatatask_exec_docker import ContainerTask, DockerManager
from pydatatask_exec_docker.spec import Pull


@frozen
class Registry:
    app: App
    address: str

    def push(self, version: str) -> str:
        """Push an image that says its version, forget it here, and give its name."""
        name = f"{self.address}/image"
        made = self.app.client.containers.create(BUSYBOX)
        try:
            made.put_archive("/", _archive("version", version.encode()))
            made.commit(name, "latest")
        finally:
            made.remove()
        self.app.client.images.push(name, "latest")
        self.forget()
        return f"{name}:latest"

    def forget(self) -> None:
        self.app.client.images.remove(f"{self.address}/image:latest", force=True)

    def keep(self, tag: str) -> None:
        self.app.client.images.get(f"{self.address}/image:latest").tag(f"{self.address}/image", tag)

    def bring_back(self, tag: str) -> None:
        self.app.client.images.get(f"{self.address}/image:{tag}").tag(f"{self.address}/image", "latest")
        self.app.client.images.remove(f"{self.address}/image:{tag}")

    def stop(self) -> None:
        for container in self.app.client.containers.list(filters={"label": f"registry={self.app.name}"}):
            container.kill()


@pytest.fixture
def registry(app: App) -> Iterator[Registry]:
    image = service_setting("PYDATATASK_TEST_REGISTRY_IMAGE", "an image with a Docker registry, such as registry:2")
    container = app.client.containers.run(
        image, detach=True, ports={"5000/tcp": ("127.0.0.1", None)}, labels={"registry": app.name}
    )
    try:
        container.reload()
        address = f"127.0.0.1:{container.ports['5000/tcp'][0]['HostPort']}"
        deadline = time.monotonic() + DEADLINE
        while not _answers(address):
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)
        found = Registry(app, address)
        yield found
        try:
            found.forget()
        except docker.errors.ImageNotFound:
            return
    finally:
        container.remove(force=True, v=True)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _archive(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def task_of(manager: DockerManager, image: str, pull: Pull) -> tuple[Pipeline, ContainerTask, InProcessBlobRepository]:
    session, engine = engine_of(manager)
    out, done = InProcessBlobRepository(), InProcessMetadataRepository()
    task = ContainerTask("task", engine, None, Resources(), image, "cat /version", done=done, stdout=out, pull=pull)
    task.link("go", InProcessMetadataRepository({"one": None, "two": None}), is_input=True)
    return Pipeline([task], session), task, out


@pytest.mark.slow
async def test_an_image_that_is_missing_is_pulled_and_one_that_is_there_is_not(
    manager: DockerManager, registry: Registry
) -> None:
    image = registry.push("first")
    pipeline, task, out = task_of(manager, image, "missing")
    async with pipeline:
        await pipeline.run(timeout=DEADLINE)
        registry.stop()
        for repo in (task.done, out):
            assert isinstance(repo, InProcessMetadataRepository | InProcessBlobRepository)
            await repo.delete("one")
        await pipeline.run(timeout=DEADLINE)

    assert out.data == {"one": b"first", "two": b"first"}
    assert isinstance(task.done, InProcessMetadataRepository)
    assert task.done.data["one"]["image"].startswith(f"{image}@sha256:")


@pytest.mark.slow
async def test_an_image_is_pulled_always_if_that_is_wanted(manager: DockerManager, registry: Registry) -> None:
    pipeline, task, out = task_of(manager, registry.push("first"), "always")
    async with pipeline:
        await pipeline.run(timeout=DEADLINE)
        first = dict(out.data)
        registry.keep("first")
        registry.push("second")
        # The engine has one of that name, which is an old one.
        registry.bring_back("first")
        for repo in (task.done, out):
            assert isinstance(repo, InProcessMetadataRepository | InProcessBlobRepository)
            await repo.delete("one")
        await pipeline.run(timeout=DEADLINE)

    assert first == {"one": b"first", "two": b"first"}
    assert out.data == {"one": b"second", "two": b"first"}


@pytest.mark.slow
async def test_an_image_that_no_registry_has_fails_the_launch_once(
    app: App, manager: DockerManager, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline, *_ = task_of(manager, f"{registry.address}/absent:1", "missing")
    async with pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert caplog.text.count("could not be run on job one") == 1
    assert f"Cannot pull image {registry.address}/absent:1" in caplog.text
    assert "Is the name right" in caplog.text
    assert app.all() == []


@pytest.mark.slow
async def test_a_registry_that_does_not_answer_is_asked_again(manager: DockerManager, registry: Registry) -> None:
    registry.stop()
    pipeline, task, _ = task_of(manager, f"{registry.address}/image:latest", "missing")
    async with pipeline:
        run = RunName("task", "one", 1)
        with pytest.raises(SiteUnavailableError, match="Cannot pull image"):
            await manager.claim(run, "me", await task.make(run))


async def test_a_name_that_is_none_fails_the_launch(manager: DockerManager) -> None:
    pipeline, task, _ = task_of(manager, "No Image", "missing")
    async with pipeline:
        run = RunName("task", "one", 1)
        with pytest.raises(ConfigurationError):
            await manager.claim(run, "me", await task.make(run))
