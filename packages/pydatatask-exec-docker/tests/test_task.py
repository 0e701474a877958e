"""Containers from claim to release, on a real engine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from containers import BUSYBOX, DEADLINE, App, engine_of
from pydatatask_core import (
    InProcessBlobRepository,
    InProcessMetadataRepository,
    Pipeline,
    ResourceManager,
    Resources,
)
from pydatatask_core.task.script import STDOUT
from pydatatask_exec_docker import ContainerTask, DockerManager, archive

QUOTA = ResourceManager(Resources.parse(8, "4Gi"))
SMALL = Resources.parse(0.1, "32Mi")


async def test_a_container_runs_for_a_job_and_leaves_output_and_record(app: App, manager: DockerManager) -> None:
    session, engine = engine_of(manager)
    jobs = InProcessMetadataRepository({"one": 1, "two": 2})
    out, err, done = InProcessBlobRepository(), InProcessBlobRepository(), InProcessMetadataRepository()
    task = ContainerTask(
        "greet",
        engine,
        QUOTA,
        SMALL,
        BUSYBOX,
        "echo hello {{ job }} {{ number }} $WORD; echo no >&2",
        environ={"WORD": "word {{ number }} ' \" $x"},
        done=done,
        stdout=out,
        stderr=err,
    )
    task.link("number", jobs, is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert out.data == {"one": b"hello one 1 word 1 ' \" $x\n", "two": b"hello two 2 word 2 ' \" $x\n"}
    assert err.data == {"one": b"no\n", "two": b"no\n"}
    record = done.data["one"]
    assert record["result"] == "success"
    assert record["return_code"] == 0
    assert record["image"].startswith(f"{BUSYBOX}@sha256:")
    assert record["start_time"] <= record["end_time"] <= datetime.now(UTC)
    assert app.all() == []


async def test_input_of_any_bytes_comes_out_as_it_went_in(app: App, manager: DockerManager) -> None:
    session, engine = engine_of(manager)
    values = {
        "empty": b"",
        "binary": bytes(range(256)) * 5000,
        "large": b"".join(b"%d\n" % number for number in range(1_000_000)),
        "unended": b"no newline",
        "wide": b"x" * 16384 + b"\n" + b"y" * 40000,
    }
    out = InProcessBlobRepository()
    done = InProcessMetadataRepository()
    task = ContainerTask(
        "echo", engine, None, Resources(), BUSYBOX, "cat", done=done, stdin=InProcessBlobRepository(values), stdout=out
    )

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert {job: record["result"] for job, record in done.data.items()} == dict.fromkeys(values, "success")
    assert out.data == values
    assert app.all() == []


async def test_input_in_many_pieces_keeps_its_order(
    app: App, manager: DockerManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PIECE", 1000)
    session, engine = engine_of(manager)
    value = b"".join(b"%d\n" % number for number in range(5000))
    out = InProcessBlobRepository()
    stdin = InProcessBlobRepository({"one": value})
    task = ContainerTask(
        "echo",
        engine,
        None,
        Resources(),
        BUSYBOX,
        "cat",
        done=InProcessMetadataRepository(),
        stdin=stdin,
        stdout=out,
    )

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert out.data == {"one": value}


async def test_standard_error_can_be_among_the_output_in_order(app: App, manager: DockerManager) -> None:
    session, engine = engine_of(manager)
    out = InProcessBlobRepository()
    task = ContainerTask(
        "both",
        engine,
        None,
        Resources(),
        BUSYBOX,
        "i=0; while [ $i -lt 100 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done",
        done=InProcessMetadataRepository(),
        stdout=out,
        stderr=STDOUT,
    )
    task.link("go", InProcessMetadataRepository({"one": None}), is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert out.data["one"] == b"".join(b"o%d\ne%d\n" % (number, number) for number in range(100))


async def test_a_script_may_name_its_interpreter_and_be_long(app: App, manager: DockerManager) -> None:
    session, engine = engine_of(manager)
    out = InProcessBlobRepository()
    scripts = InProcessMetadataRepository(
        {
            "long": f"echo {'x' * 200_000} | wc -c",
            "named": "#!/bin/cat\nthis is what it reads",
        }
    )
    done = InProcessMetadataRepository()
    task = ContainerTask("run", engine, None, Resources(), BUSYBOX, "{{ text }}", done=done, stdout=out)
    task.link("text", scripts, is_input=True)

    async with Pipeline([task], session) as pipeline:
        await pipeline.run(timeout=DEADLINE)

    assert out.data == {"long": b"200001\n", "named": b"#!/bin/cat\nthis is what it reads"}
    assert app.all() == []


def test_a_live_run_keeps_its_job_from_another_start_and_from_what_follows(manager: DockerManager) -> None:
    _, engine = engine_of(manager)
    task = ContainerTask("task", engine, None, Resources(), BUSYBOX, "true", done=InProcessMetadataRepository())
    live = task.links["live"]

    assert (live.is_status, live.inhibits_start, live.inhibits_output) == (True, True, True)
    assert engine in task.resources
