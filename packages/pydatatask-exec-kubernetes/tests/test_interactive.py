"""Looking into live pods: their logs as they come, and programs beside them."""

from __future__ import annotations

import asyncio
import json

import pytest
from namespaces import BUSYBOX, DEADLINE, Namespace, manifest
from pydatatask_core.errors import MissingJobError, PydatataskError
from pydatatask_core.runs.interactive import TerminalSize
from pydatatask_core.runs.site import RunName
from pydatatask_exec_kubernetes import PodManager
from pydatatask_exec_kubernetes.manifest import read_manifest

pytestmark = pytest.mark.slow

RUN = RunName("task", "job", 1)


async def launch(manager: PodManager, namespace: Namespace, command: str) -> None:
    await manager.claim(RUN, "owner", read_manifest(manifest(command), "the manifest", counted=False))
    await namespace.until(lambda pods: pods[0]["status"]["phase"] != "Pending", "it runs")


async def test_a_log_is_followed_from_before_the_pod_begins_to_its_end(
    manager: PodManager, namespace: Namespace
) -> None:
    script = "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two"
    await manager.claim(RUN, "owner", read_manifest(manifest(script), "the manifest", counted=False))

    async with asyncio.timeout(DEADLINE), await manager.follow_output(RUN, "stdout") as log:
        first = await log.read(100)
        await namespace.until(lambda pods: pods[0]["status"]["phase"] == "Running", "the server knows that it runs")
        async with await manager.exec(RUN, ["touch", "/tmp/go"]) as program:
            assert [data async for _, data in program.output()] == []
        rest = await log.read()

    assert (first, rest) == (b"one\n", b"two\n")
    async with await manager.open_output(RUN, "stdout", 2) as log:
        assert await log.read() == b"e\ntwo\n"


async def test_a_log_is_followed_from_before_the_pod_has_a_node(manager: PodManager, namespace: Namespace) -> None:
    """Kubernetes gives such a pod's log as empty, which would be taken for its end."""
    mark = namespace.name
    waiting = manifest("echo one", more=f"  nodeSelector: {{{mark}: here}}\n")
    await manager.claim(RUN, "owner", read_manifest(waiting, "the manifest", counted=False))
    await namespace.until(lambda pods: pods[0]["status"].get("conditions"), "the scheduler has looked at it")
    with pytest.raises(MissingJobError, match="on no node yet"):
        await manager.open_output(RUN, "stdout")
    async with asyncio.TaskGroup() as group:
        following = group.create_task(manager.follow_output(RUN, "stdout"))
        name = json.loads(await namespace.kubectl("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
        await namespace.kubectl("label", "node", name, f"{mark}=here")

    try:
        async with following.result() as log, asyncio.timeout(DEADLINE):
            assert await log.read() == b"one\n"
    finally:
        await namespace.kubectl("label", "node", name, f"{mark}-")


async def test_a_log_is_followed_over_all_containers_also_those_that_begin_later(manager: PodManager) -> None:
    init = f"""  initContainers:
  - name: first
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo one; sleep 2"]
  - name: second
    image: {BUSYBOX}
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo two; sleep 1"]
"""
    spec = read_manifest(manifest("echo three", more=init), "the manifest", counted=False)
    await manager.claim(RUN, "owner", spec)

    async with asyncio.timeout(DEADLINE), await manager.follow_output(RUN, "stdout") as log:
        assert await log.read() == b"==> first <==\none\n==> second <==\ntwo\n==> main <==\nthree\n"


async def test_a_log_that_is_not_there_is_missing(manager: PodManager) -> None:
    with pytest.raises(MissingJobError):
        await manager.open_output(RUN, "stdout")
    with pytest.raises(MissingJobError, match="one log"):
        await manager.open_output(RUN, "stderr")


async def test_a_terminal_has_its_size_and_may_be_resized(manager: PodManager, namespace: Namespace) -> None:
    await launch(manager, namespace, "sleep 1000")
    written = b""

    async def until(text: bytes) -> None:
        nonlocal written
        async with asyncio.timeout(DEADLINE):
            while text not in written:
                stream, data = await anext(output)
                assert stream == "stdout"
                written += data

    async with await manager.exec(RUN, ["sh"], terminal=TerminalSize(91, 17)) as shell:
        output = shell.output()
        # The size and the input come by channels of their own.
        await shell.write(b"until [ \"$(stty size)\" = '17 91' ]; do sleep 0.1; done; echo rea''dy\n")
        await until(b"ready")
        await shell.resize(TerminalSize(120, 40))
        await shell.write(b"until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo ag''ain\n")
        await until(b"again")
        await shell.write(b"exit 6\n")
        async for _ in output:
            pass
        assert shell.exit_status == 6


async def test_a_program_gets_input_and_its_streams_are_kept_apart(manager: PodManager, namespace: Namespace) -> None:
    await launch(manager, namespace, "sleep 1000")
    written = {"stdout": b"", "stderr": b""}

    async with await manager.exec(RUN, ["sh", "-c", "read word; echo got $word; echo bad >&2; exit 3"]) as program:
        await program.write(b"a word\n")
        async for stream, data in program.output():
            written[stream] += data

    assert written == {"stdout": b"got a word\n", "stderr": b"bad\n"}
    assert program.exit_status == 3


async def test_a_program_that_is_not_there_is_told(manager: PodManager, namespace: Namespace) -> None:
    await launch(manager, namespace, "sleep 1000")

    async with await manager.exec(RUN, ["no-such-program"]) as program:
        with pytest.raises(PydatataskError, match="no-such-program"):
            await anext(program.output())


async def test_nothing_is_run_in_a_pod_that_has_ended(manager: PodManager, namespace: Namespace) -> None:
    await launch(manager, namespace, "true")
    await namespace.until(lambda pods: pods[0]["status"]["phase"] == "Succeeded", "it ended")

    with pytest.raises(MissingJobError, match="not running"):
        await manager.exec(RUN, ["true"])


async def test_a_program_that_is_begun_while_its_container_ends_is_told_that_it_does_not_run(
    manager: PodManager, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that has too much to do tells late.
    monkeypatch.setattr("pydatatask_exec_kubernetes.looking.LAG", 20)
    await launch(manager, namespace, "sleep 2")
    told = ""

    async with asyncio.timeout(DEADLINE):
        while "not running" not in told:
            try:
                async with await manager.exec(RUN, ["true"]) as program:
                    assert [data async for _, data in program.output()] == []
                # It is killed with the container that it runs in.
                assert program.exit_status in {0, 137}
            except MissingJobError as error:
                told = str(error)
