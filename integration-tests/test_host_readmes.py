"""The examples of hosts run as they are written, but for the address of the host and where its folder is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from programs import HERE, call
from ssh_server import (  # type: ignore[import-not-found]  # with the tests of the member; see conftest
    PASSWORD,
    USER,
    SSHServer,
    ssh_server,
)

MEMBERS = HERE.parent / "packages"


@pytest.fixture(scope="module")
def host() -> Iterator[SSHServer]:
    with ssh_server() as server:
        yield server


def run_example(folder: Path, member: str, **changes: str) -> None:
    """Run the example of a member's README in a folder, with some words changed, on two texts."""
    (program,) = re.findall(r"```python\n(.*?)```", (MEMBERS / member / "README.md").read_text(), re.DOTALL)
    for old, new in changes.items():
        assert old in program
        program = program.replace(old, new)
    (folder / "example.py").write_text(program)
    (folder / "texts").mkdir()
    (folder / "texts" / "one.txt").write_text("a text of five words\n")
    (folder / "texts" / "two.txt").write_text("two words\n")
    ended = call(sys.executable, "example.py", "run", cwd=folder)
    assert ended.code == 0, ended.err
    counts = {file.stem: int(file.read_text()) for file in folder.glob("counts/*.txt")}
    assert counts == {"one": 5, "two": 2}
    for job in counts:
        assert yaml.safe_load((folder / "done" / f"{job}.yaml").read_text())["result"] == "success"


def test_the_example_on_this_machine(tmp_path: Path) -> None:
    changes = {'LocalLinuxManager("books")': f'LocalLinuxManager("books", {str(tmp_path / "runs")!r})'}
    run_example(tmp_path, "pydatatask-exec-local", **changes)


def test_the_example_over_ssh(tmp_path: Path, host: SSHServer) -> None:
    (tmp_path / "known_hosts").write_bytes(host.known_hosts())
    login = f'"{host.address}", {host.port}, config=None, agent_path=None, client_keys=None, known_hosts="known_hosts"'
    changes = {'"build.example.org", username="books"': f'{login}, username="{USER}", password="{PASSWORD}"'}
    run_example(tmp_path, "pydatatask-exec-ssh", **changes)
