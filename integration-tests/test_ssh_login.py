"""A host that does not let us in, from the command line: told at once, with host and user, and without the secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import pipeline_file, run
from ssh_server import (  # type: ignore[import-not-found]  # with the tests of the member; see conftest
    PASSWORD,
    USER,
    SSHServer,
    ssh_server,
)

LOGIN = pipeline_file("remote_login")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host() -> Iterator[SSHServer]:
    with ssh_server() as server:
        yield server


def prepare(folder: Path, host: SSHServer, password: str) -> None:
    (folder / "inputs").mkdir()
    (folder / "inputs" / "job").touch()
    (folder / "known_hosts").write_bytes(host.known_hosts())
    login = {"username": USER, "password": password, "client_keys": None, "known_hosts": "known_hosts"}
    where = {"host": host.address, "port": host.port, "base": "/tmp/logins", "login": login}
    (folder / "ssh.json").write_text(json.dumps(where))


@pytest.mark.parametrize("words", [("run",), ("update",), ("launch", "greet", "job"), ("kill", "greet", "job")])
def test_a_refused_login_ends_the_command_at_once(tmp_path: Path, host: SSHServer, words: tuple[str, ...]) -> None:
    prepare(tmp_path, host, "hunter2")
    ended = run(LOGIN, *words, cwd=tmp_path)
    assert ended.code == 4, ended.err
    # A host that is only out of reach is tried for half a minute and more.
    assert "tried again" not in ended.err
    assert f"user {USER} on host {host.address}" in ended.err
    assert "hunter2" not in ended.err + ended.out
    assert not (tmp_path / "done").exists() or list((tmp_path / "done").glob("[!.]*")) == []


def test_verbs_that_need_no_host_need_no_login(tmp_path: Path, host: SSHServer) -> None:
    prepare(tmp_path, host, "hunter2")
    listed = run(LOGIN, "ls", "greet.inputs", cwd=tmp_path)
    assert (listed.code, listed.out) == (0, "job\n"), listed.err


def test_what_was_refused_runs_when_it_is_let_in(tmp_path: Path, host: SSHServer) -> None:
    prepare(tmp_path, host, "hunter2")
    assert run(LOGIN, "run", cwd=tmp_path).code == 4
    where = json.loads((tmp_path / "ssh.json").read_text())
    where["login"]["password"] = PASSWORD
    (tmp_path / "ssh.json").write_text(json.dumps(where))
    ended = run(LOGIN, "run", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "out" / "job").read_text() == "hello\n"
