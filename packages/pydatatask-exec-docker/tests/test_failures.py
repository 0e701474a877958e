"""What goes wrong with containers is told, on a real engine."""

from __future__ import annotations

import asyncio
from typing import Any

import docker  # type: ignore[import-untyped]  # it has no type information
import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import (
    ConfigurationError,
    ConflictError,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Resources,
    Retries,
)
from pydatatask_core.errors import SiteUnavailableError
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import RunName
from pydatatask_core.testing.services import service_setting
from pydatatask_exec_docker import ContainerTask, DockerManager

LIMIT = DEADLINE


class Setting:
    """A task with one job, ``one``."""

    def __init__(self, manager: DockerManager, script: str, *, image: str = BUSYBOX, **options: Any) -> None:
        self.session, engine = engine_of(manager)
        self.done = InProcessMetadataRepository()
        self.out = InProcessBlobRepository()
        resources = options.pop("resources", Resources())
        self.task = ContainerTask(
            "task", engine, None, resources, image, script, done=self.done, stdout=self.out, **options
        )
        self.task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline([self.task], self.session)

    async def run(self) -> Controller:
        async with self.pipeline as pipeline:
            return await pipeline.run(timeout=LIMIT)

    async def record(self) -> dict[str, Any]:
        await self.run()
        found: dict[str, Any] = self.done.data["one"]
        return found


async def test_the_exit_status_is_in_the_record(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "echo before; exit 3")

    record = await setting.record()

    assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 3)
    assert setting.out.data == {"one": b"before\n"}
    assert app.all() == []


async def test_a_script_that_takes_too_much_memory_is_killed_and_the_record_says_so(
    app: App, manager: DockerManager
) -> None:
    script = "head -c 100000000 /dev/zero | tail"
    record = await Setting(manager, script, resources=Resources.parse(0.5, "16Mi")).record()

    assert (record["result"], record["cause"]) == ("failure", "oom")


async def test_limits_are_really_set(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60", resources=Resources.parse("500m", "24Mi"), grace=0)
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        container = await app.until_running()
        host = container.attrs["HostConfig"]
        await setting.task.end("one", "cancelled")
        await running

    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == host["MemorySwap"] == 24 * 2**20


async def test_a_limit_that_the_engine_refuses_fails_the_launch_once(
    app: App, manager: DockerManager, caplog: pytest.LogCaptureFixture
) -> None:
    await Setting(manager, "true", resources=Resources.parse(4000, 0)).run()

    assert caplog.text.count("could not be run on job one") == 1
    assert "the engine refuses it. Range of CPUs" in caplog.text


@pytest.mark.parametrize("script", ["sleep 60", "trap '' TERM; while :; do sleep 1; done"], ids=["meek", "deaf"])
async def test_a_timeout_is_kept_by_the_container_itself(app: App, manager: DockerManager, script: str) -> None:
    record = await Setting(manager, f"echo begun; {script}", timeout=1.0, grace=1.0).record()

    assert (record["result"], record["cause"]) == ("timeout", "timeout")
    assert (record["end_time"] - record["start_time"]).total_seconds() < 30


async def test_other_shells_look_after_a_script_as_well(app: App, manager: DockerManager) -> None:
    image = service_setting(
        "PYDATATASK_TEST_PYTHON_IMAGE", "an image of a Linux distribution, such as python:3.12-slim"
    )
    script = "trap '' TERM; echo begun; cat; while :; do sleep 1; done"
    setting = Setting(manager, script, image=image, timeout=3.0, grace=0.5)

    record = await setting.record()

    assert record["result"] == "timeout"
    assert (record["end_time"] - record["start_time"]).total_seconds() < 30
    assert setting.out.data == {"one": b"begun\n"}


async def test_an_input_that_vanished_sets_the_job_aside(
    app: App, manager: DockerManager, caplog: pytest.LogCaptureFixture
) -> None:
    values = InProcessBlobRepository()
    setting = Setting(manager, "cat", stdin=values)
    setting.task.link("stdin", values, is_input=True, required_for_start=False)

    await setting.run()

    assert caplog.text.count("could not be run on job one") == 1
    assert app.all() == []


async def test_a_long_timeout_is_kept_as_well(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60", timeout=2e6, grace=0)
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        container = await app.until_running()
        await app.until(lambda _: "sleep 2000000" in str(container.top()["Processes"]), "its timer")
        await setting.task.end("one", "cancelled")
        await running


async def test_a_script_that_ends_with_the_status_of_a_timeout_did_not_time_out(
    app: App, manager: DockerManager
) -> None:
    record = await Setting(manager, "exit 124", timeout=60.0).record()

    assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 124)


async def test_the_end_is_told_to_what_a_script_waits_for(app: App, manager: DockerManager) -> None:
    script = "trap 'echo cleaned; exit 0' TERM; echo begun; sleep 60"
    setting = Setting(manager, script, timeout=3.0, grace=40)

    record = await setting.record()

    assert record["result"] == "timeout"
    assert (record["end_time"] - record["start_time"]).total_seconds() < 30
    assert setting.out.data == {"one": b"begun\ncleaned\n"}


async def test_a_script_has_the_grace_to_end_by_itself(app: App, manager: DockerManager) -> None:
    script = "trap 'sleep 0.5; echo cleaned; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    setting = Setting(manager, script, timeout=3.0)

    record = await setting.record()

    assert record["result"] == "timeout"
    assert setting.out.data == {"one": b"begun\ncleaned\n"}


async def test_killing_a_run_is_recorded(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60")
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        await app.until_running()
        assert await setting.task.end("one", "cancelled")
        await running

    record = setting.done.data["one"]
    assert (record["result"], record["cause"]) == ("cancelled", "cancelled")
    assert app.all() == []


async def test_deleting_a_job_from_the_live_link_ends_its_run_without_a_record(
    app: App, manager: DockerManager
) -> None:
    setting = Setting(manager, "sleep 60")
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(launch_once=True, timeout=LIMIT))
        first = await app.until_running()
        live = setting.task.links["live"].repo
        assert [job async for job in live] == ["one"]
        assert (await live.info("one"))["id"] == first.id
        await live.delete("one")
        await running

    assert setting.done.data == {}
    assert app.all() == []


async def test_a_mark_tells_the_next_controller_that_a_run_was_killed(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60")
    async with setting.pipeline as pipeline:
        await pipeline.run(launch_once=True, leave=True, timeout=LIMIT)
        await app.until_running()
        # Nobody follows it.
        assert await setting.task.end("one", "cancelled")
        await app.until(lambda all_: all_[0].status == "exited", "its end")
        await pipeline.run(timeout=LIMIT)

    assert setting.done.data["one"]["result"] == "cancelled"
    assert app.all() == []


async def test_a_run_that_has_not_begun_never_does_once_it_is_cancelled(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "echo ran")
    async with setting.pipeline as pipeline:
        run = RunName("task", "one", 1)
        claimed = await manager.claim(run, setting.task.owner, await setting.task.make(run))
        assert claimed is not None
        await manager.cancel(claimed, "cancelled")
        assert [container.status for container in app.all()] == ["exited"]
        await manager.start(run)
        await pipeline.run(timeout=LIMIT)

    assert setting.done.data["one"]["result"] == "cancelled"
    assert setting.out.data == {"one": b""}
    assert app.all() == []


async def test_a_container_that_somebody_removes_is_lost(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60")
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        container = await app.until_running()
        await asyncio.to_thread(container.remove, force=True)
        await running

    record = setting.done.data["one"]
    assert (record["result"], record["cause"]) == ("lost", "lost")


async def test_a_container_that_somebody_kills_is_lost(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "sleep 60")
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        container = await app.until_running()
        await asyncio.to_thread(container.kill)
        await running

    record = setting.done.data["one"]
    assert (record["result"], record["cause"], record["return_code"]) == ("lost", "lost", 137)
    assert "killed" in record["reason"]


async def test_a_script_that_a_signal_ends_has_failed(app: App, manager: DockerManager) -> None:
    record = await Setting(manager, "kill -KILL $$").record()

    assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 137)


async def test_a_container_that_somebody_stops_was_evicted(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "echo begun; sleep 60")
    async with setting.pipeline as pipeline:
        running = asyncio.ensure_future(pipeline.run(timeout=LIMIT))
        container = await app.until_running()
        # Who looks after the script hears nothing before.
        await app.until(lambda _: container.exec_run(["cat", "/pydatatask/stdout"]).output == b"begun\n", "its output")
        await asyncio.to_thread(container.stop)
        await running

    record = setting.done.data["one"]
    assert (record["result"], record["cause"]) == ("lost", "evicted")
    assert "stopped the container" in record["reason"]


async def test_failed_attempts_are_followed_by_others_and_told_in_the_record(app: App, manager: DockerManager) -> None:
    record = await Setting(manager, "exit 5", retries=Retries(1, delay=0.1)).record()

    assert record["attempt"] == 2
    assert [earlier["return_code"] for earlier in record["attempts"]] == [5]
    assert app.all() == []


async def test_an_image_that_is_never_pulled_and_not_there_fails_the_launch_once(
    app: App, manager: DockerManager, caplog: pytest.LogCaptureFixture
) -> None:
    await Setting(manager, "true", image="no-such-image:1", pull="never").run()

    assert caplog.text.count("could not be run on job one") == 1
    assert "no image no-such-image:1" in caplog.text
    assert app.all() == []


async def test_an_image_without_a_shell_fails_the_run_and_says_why(app: App, manager: DockerManager) -> None:
    image = f"pydatatask-test-empty:{app.name}"
    app.client.api.import_image_from_data(b"\0" * 10240, repository="pydatatask-test-empty", tag=app.name)
    try:
        record = await Setting(manager, "true", image=image).record()
    finally:
        app.client.images.remove(image, force=True)

    assert (record["result"], record["cause"]) == ("failure", "unschedulable")
    assert "/bin/sh" in record["reason"]
    assert app.all() == []


async def test_a_script_that_ends_as_a_missing_shell_does_has_failed(app: App, manager: DockerManager) -> None:
    record = await Setting(manager, "exit 127").record()

    assert (record["result"], record["cause"], record["return_code"]) == ("failure", "exit", 127)


async def test_a_container_that_cannot_be_started_fails_the_run_and_says_why(app: App, manager: DockerManager) -> None:
    record = await Setting(manager, "true", user="nobody-knows-me").record()

    assert (record["result"], record["cause"]) == ("failure", "unschedulable")
    assert "nobody-knows-me" in record["reason"]
    assert app.all() == []


async def test_a_script_that_is_not_root_may_write_and_read(app: App, manager: DockerManager) -> None:
    values = InProcessBlobRepository({"one": b"input\n"})
    setting = Setting(manager, "id -u; pwd; touch here; cat", user="4711:4711", workdir="/tmp", stdin=values)

    record = await setting.record()

    assert record["result"] == "success"
    assert setting.out.data == {"one": b"4711\n/tmp\ninput\n"}


async def test_a_container_of_somebody_else_in_the_place_is_a_conflict(app: App, manager: DockerManager) -> None:
    name = dns_name(app.name, RunName("task", "one", 1))
    other = app.client.containers.create(BUSYBOX, name=name)
    setting = Setting(manager, "true")
    try:
        async with setting.session:
            run = RunName("task", "one", 1)
            with pytest.raises(ConflictError, match="Remove it, or rename the app"):
                await manager.claim(run, "me", await setting.task.make(run))
    finally:
        other.remove()


async def test_of_several_who_claim_a_run_one_gets_it(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "#!/bin/sh\necho ran")
    run = RunName("task", "one", 1)
    async with setting.session:
        specs = [await setting.task.make(run) for _ in range(4)]
        claims = await asyncio.gather(*(manager.claim(run, "me", spec) for spec in specs))

    assert sum(claim is not None for claim in claims) == 1
    assert len(app.all()) == 1


async def test_a_container_that_is_started_twice_runs_its_script_once(app: App, manager: DockerManager) -> None:
    setting = Setting(manager, "echo ran >> /runs; cat /runs; exit 9")
    run = RunName("task", "one", 1)
    async with setting.pipeline as pipeline:
        await pipeline.run(launch_once=True, leave=True, timeout=LIMIT)
        (container,) = await app.until(lambda all_: all_[0].status == "exited" and all_, "its end")
        await manager.start(run)
        await asyncio.to_thread(container.reload)
        assert container.status == "exited"
        # Past our own look, as a request that was late would be.
        await asyncio.to_thread(container.start)
        await asyncio.to_thread(container.wait)
        await pipeline.run(timeout=LIMIT)

    assert setting.done.data["one"]["return_code"] == 9
    assert setting.out.data == {"one": b"ran\n"}


async def test_what_an_interrupted_claim_left_is_swept(app: App, manager: DockerManager) -> None:
    left = app.client.containers.create(
        BUSYBOX, name="pydatatask-new-0123456789abcdef", labels={"pydatatask.app": app.name}
    )
    await Setting(manager, "true").run()

    with pytest.raises(docker.errors.NotFound):
        left.reload()


async def test_an_engine_that_is_not_there_is_unavailable(app: App) -> None:
    import aiodocker

    async with aiodocker.Docker("tcp://127.0.0.1:1", api_version="v1.41") as client:
        manager = DockerManager(app.name, client)
        with pytest.raises(SiteUnavailableError, match="does not answer"):
            await manager.look("task", "one")
        assert not manager.is_here


def test_options_that_mean_nothing_are_refused(app: App) -> None:
    def make(**options: Any) -> None:
        ContainerTask("task", lambda: None, None, Resources(), BUSYBOX, "true", **options)  # type: ignore[arg-type, return-value]  # never called

    with pytest.raises(ConfigurationError, match="pull"):
        make(pull="sometimes")
    with pytest.raises(ConfigurationError, match="stderr"):
        make(stderr="stdout")
    with pytest.raises(ConfigurationError, match="environment variable"):
        make(environ={"A B": "c"})
