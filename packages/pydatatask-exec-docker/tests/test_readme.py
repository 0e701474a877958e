"""The example of this member's README does what it says, and the commands look into its containers."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from containers import BUSYBOX, DEADLINE, App

README = Path(__file__).parents[1] / "README.md"


class Example:
    """The README's program in a folder."""

    def __init__(self, folder: Path, app: App) -> None:
        (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        self.folder = folder
        # For an app of this test's own.
        (folder / "pipeline.py").write_text(example.replace('"books"', repr(app.name)))
        (folder / "texts").mkdir()

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        environment = {**os.environ, "IMAGE": BUSYBOX, "XDG_STATE_HOME": str(self.folder / "state")}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "pipeline.py",
            *words,
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )

    async def call(self, *words: str) -> tuple[int | None, bytes]:
        process = await self.start(*words)
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
        return process.returncode, out


@pytest.mark.slow
async def test_the_example_counts_each_text_in_a_container(tmp_path: Path, app: App) -> None:
    example = Example(tmp_path, app)
    (tmp_path / "texts" / "short.txt").write_text("three plain words\n")

    assert (await example.call("run"))[0] == 0

    assert (tmp_path / "counts" / "short.txt").read_text() == "short has 3 words\n"
    assert (tmp_path / "done" / "short.yaml").exists()
    assert app.all() == []


@pytest.mark.slow
async def test_the_commands_look_into_a_live_container_and_end_it(tmp_path: Path, app: App) -> None:
    example = Example(tmp_path, app)
    program = (tmp_path / "pipeline.py").read_text()
    script = "'echo \"$BOOK has $(wc -w) words\"\\n'"
    assert script in program
    (tmp_path / "pipeline.py").write_text(program.replace(script, "'echo begun; sleep 100'"))
    (tmp_path / "texts" / "short.txt").write_text("a\n")

    controller = await example.start("run")
    await app.until_running()
    following = await example.start("logs", "count", "short", "--follow")
    assert following.stdout is not None
    assert await asyncio.wait_for(following.stdout.readline(), DEADLINE) == b"begun\n"
    assert await example.call("exec", "count", "short", "--", "sh", "-c", "echo $BOOK; exit 5") == (5, b"short\n")
    assert (await example.call("kill", "count", "short"))[0] == 0
    assert await asyncio.wait_for(following.wait(), DEADLINE) == 0
    assert await asyncio.wait_for(controller.wait(), DEADLINE) == 1

    assert "result: cancelled" in (tmp_path / "done" / "short.yaml").read_text()
    assert await example.call("logs", "count", "short") == (0, b"begun\n")
    assert app.all() == []
