"""The example of the README of containers does what it says, and the commands look into its containers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker_engine import Engine, engine_of_a_fresh_app
from programs import DEADLINE, run, started, wait_until

pytestmark = pytest.mark.slow

README = Path(__file__).parents[1] / "packages" / "pydatatask-exec-docker" / "README.md"
BUSYBOX = os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"
SCRIPT = "'echo \"$BOOK has $(wc -w) words\"\\n'"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with engine_of_a_fresh_app() as found:
        yield found
        for container in found.containers():
            container.remove(force=True)


@pytest.fixture
def program(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's program, for an app of this test's own."""
    monkeypatch.setenv("IMAGE", BUSYBOX)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert '"books"' in example
    (tmp_path / "texts").mkdir()
    file = tmp_path / "pipeline.py"
    file.write_text(example.replace('"books"', repr(engine.app)))
    return file


def test_the_example_counts_each_text_in_a_container(tmp_path: Path, engine: Engine, program: Path) -> None:
    (tmp_path / "texts" / "short.txt").write_text("three plain words\n")
    ended = run(program, "run", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "counts" / "short.txt").read_text() == "short has 3 words\n"
    assert (tmp_path / "done" / "short.yaml").exists()
    assert engine.containers() == []


def test_the_commands_look_into_a_live_container_and_end_it(tmp_path: Path, engine: Engine, program: Path) -> None:
    text = program.read_text()
    assert SCRIPT in text
    program.write_text(text.replace(SCRIPT, "'echo begun; sleep 100'"))
    (tmp_path / "texts" / "short.txt").write_text("a\n")

    with started(program, "run", cwd=tmp_path) as controller:
        wait_until(lambda: engine.running() == 1, "a container runs", controller)
        with started(program, "logs", "count", "short", "--follow", cwd=tmp_path) as following:
            wait_until(lambda: "begun\n" in (tmp_path / "output.log").read_text(), "it is followed", following)
            looked = run(program, "exec", "count", "short", "--", "sh", "-c", "echo $BOOK; exit 5", cwd=tmp_path)
            assert (looked.code, looked.out) == (5, "short\n")
            lines = "".join(f"line {number}\n" for number in range(20_000))
            read = run(program, "exec", "count", "short", "--", "cat", cwd=tmp_path, text=lines)
            assert (read.code, read.out, read.err) == (0, lines, "")
            (tmp_path / "lines").write_text(lines)
            with (tmp_path / "lines").open() as file:
                words = [sys.executable, str(program), "exec", "count", "short", "--", "cat"]
                assert subprocess.check_output(words, stdin=file, cwd=tmp_path, text=True, timeout=DEADLINE) == lines
            killed = run(program, "kill", "count", "short", cwd=tmp_path)
            # The record is the controller's to write. Whoever kills waits for it half a minute beyond the grace.
            assert killed.code == 0 or "has not recorded it yet" in killed.err, killed.err
            assert following.wait(DEADLINE) == 0
        assert controller.wait(DEADLINE) == 1

    assert "result: cancelled" in (tmp_path / "done" / "short.yaml").read_text()
    assert run(program, "logs", "count", "short", cwd=tmp_path).out == "begun\n"
    assert engine.containers() == []
