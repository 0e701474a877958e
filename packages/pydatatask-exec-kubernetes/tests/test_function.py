"""Functions in pods, as far as no pod is needed; the repository's integration tests have one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from namespaces import manifest
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Repository,
    Session,
    YamlMetadataBlobRepository,
)
from pydatatask_core.errors import ConfigurationError
from pydatatask_core.repository.protocols import MetadataRepository
from pydatatask_core.runs.site import RunName
from pydatatask_core.task.run import Again, Ended
from pydatatask_exec_kubernetes import KubeFunctionTask, PodManager

session = Session()
TEMPLATE = manifest("true").replace('["sh", "-c", "true"]', "{{ ([argv0] + args) | to_json }}")


@session.resource
async def podman() -> AsyncIterator[PodManager]:
    async with PodManager("app", "nowhere") as manager:
        yield manager


class Elsewhere(YamlMetadataBlobRepository):
    """Metadata that pods could reach, for all that is known."""

    def __init__(self) -> None:
        super().__init__(InProcessBlobRepository())


def function_task(**options: Any) -> KubeFunctionTask:
    task = KubeFunctionTask("count", podman, None, TEMPLATE, func_done=Elsewhere(), **options)
    task.link("texts", Elsewhere(), is_input=True)
    return task


async def test_the_pod_is_told_to_launch_the_job_and_which_attempt_it_is() -> None:
    task = function_task()
    async with session:
        made = await task.make(RunName("count", "some.Job", 3))

    (container,) = made["spec"]["containers"]
    assert container["command"][1:] == ["launch", "count", "some.Job", "--sync", "--force"]
    assert "/" not in container["command"][0]
    assert {"name": "PYDATATASK_ATTEMPT", "value": "3"} in container["env"]


async def test_in_the_pod_the_function_is_called_and_its_record_written_without_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYDATATASK_ATTEMPT", "2")
    task = function_task()
    called = []

    @task
    async def count(job: str, texts: MetadataRepository) -> None:
        called.append((job, texts))

    assert task.func is not None
    pipeline = Pipeline([task], session)
    async with pipeline:
        pipeline.settings(synchronous=True)
        assert await task.live_jobs() == ()
        end = await task.run("job")

    assert isinstance(end, Ended)
    assert called == [("job", task.links["texts"].repo)]
    assert task.func_done is not None
    record = await task.func_done.info("job")
    assert (record["result"], record["attempt"]) == ("success", 2)


@pytest.mark.parametrize(("attempt", "recorded"), [("1", False), ("2", True)])
async def test_a_call_that_fails_is_recorded_only_if_no_other_attempt_follows(
    monkeypatch: pytest.MonkeyPatch, attempt: str, recorded: bool
) -> None:
    monkeypatch.setenv("PYDATATASK_ATTEMPT", attempt)
    task = function_task(retries=1)

    @task
    async def count(job: str) -> None:
        raise ValueError("no text")

    pipeline = Pipeline([task], session)
    async with pipeline:
        pipeline.settings(synchronous=True)
        end = await task.run("job")

    assert isinstance(end, Ended if recorded else Again)
    assert task.func_done is not None
    assert await task.func_done.contains("job") is recorded
    if recorded:
        assert "no text" in (await task.func_done.info("job"))["exception"]


def test_what_cannot_work_is_refused_at_opening() -> None:
    with pytest.raises(ConfigurationError, match="neither kube_done nor func_done"):
        KubeFunctionTask("count", podman, None, TEMPLATE)

    with pytest.raises(ConfigurationError, match="no function"):
        function_task().validate()

    async def wrong(job: str, nothing: Repository) -> None: ...

    with pytest.raises(ConfigurationError, match="'nothing'"):
        function_task(func=wrong).validate()

    async def count(job: str, memory: Repository) -> None: ...

    task = function_task(func=count)
    task.link("memory", InProcessMetadataRepository(), is_output=True)
    with pytest.raises(ConfigurationError, match="'memory' is to a repository in memory"):
        task.validate()


async def test_without_a_record_of_the_pod_that_of_the_function_stays() -> None:
    from datetime import UTC, datetime

    from pydatatask_core import RunRecord

    task = function_task()
    done = task.func_done
    assert done is not None
    now = datetime.now(UTC)
    await done.dump("told", {"result": "success"})

    for job in ("told", "untold"):
        await task.publish(job, RunRecord(result="lost", cause="lost", start_time=now, end_time=now))

    assert (await done.info("told"))["result"] == "success"
    assert (await done.info("untold"))["result"] == "lost"
