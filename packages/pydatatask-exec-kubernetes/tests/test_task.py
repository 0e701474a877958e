"""Pods from claim to release, on a real cluster."""

from __future__ import annotations

from datetime import UTC, datetime

from namespaces import Namespace, manifest
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    Session,
)
from pydatatask_exec_kubernetes import KubeTask, PodManager


async def test_a_pod_runs_for_a_job_and_leaves_log_and_record(namespace: Namespace, manager: PodManager) -> None:
    session = Session()

    @session.resource
    async def podman():  # type: ignore[no-untyped-def]  # as users write it
        yield manager

    jobs = InProcessMetadataRepository({"one": 1, "two": 2})
    logs = InProcessBlobRepository()
    done = InProcessMetadataRepository()
    task = KubeTask("greet", podman, None, manifest("echo hello {{ job }} {{ number }}"), logs, done)
    task.link("number", jobs, is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=40)

    assert logs.data == {"one": b"hello one 1\n", "two": b"hello two 2\n"}
    record = done.data["one"]
    assert record["result"] == "success"
    assert record["return_code"] == 0
    assert record["reason"] == "Completed"
    assert record["node"]
    assert "busybox" in record["image"]
    assert record["start_time"] <= record["end_time"] <= datetime.now(UTC)
    assert await namespace.pods() == []
