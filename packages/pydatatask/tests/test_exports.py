"""What ``pydatatask`` exports: the members' names, all of them, fetched when they are used."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pydatatask
import pytest
from pydatatask import _exports

MEMBERS = [
    "pydatatask_cli",
    "pydatatask_core",
    "pydatatask_exec_docker",
    "pydatatask_exec_kubernetes",
    "pydatatask_exec_local",
    "pydatatask_exec_ssh",
    "pydatatask_repos_docker",
    "pydatatask_repos_filesystem",
    "pydatatask_repos_mongodb",
    "pydatatask_repos_s3",
]

HEAVY = {
    "aiobotocore",
    "aiodocker",
    "aiohttp",
    "asyncssh",
    "click",
    "jinja2",
    "kubernetes_asyncio",
    "motor",
    "pymongo",
    "rich",
    "yaml",
}


def typed_face() -> dict[str, str]:
    """What a type checker sees: each name, and the module it comes from."""
    assert pydatatask.__file__ is not None
    tree = ast.parse(Path(pydatatask.__file__).read_text())
    (face,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    names: dict[str, str] = {}
    for node in face.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name} is exported only as '{alias.name} as {alias.name}'"
            names[alias.name] = node.module
    return names


def test_the_typed_face_and_the_table_agree() -> None:
    assert typed_face() == _exports.HOME


@pytest.mark.parametrize("member", MEMBERS)
def test_every_name_that_a_member_exports_is_here(member: str) -> None:
    exported = set(importlib.import_module(member).__all__)
    assert {name for name, home in _exports.HOME.items() if home == member} == exported


def test_names_come_from_members_only() -> None:
    assert set(_exports.HOME.values()) <= set(MEMBERS)


def test_all_is_sorted_and_so_is_the_table() -> None:
    assert pydatatask.__all__ == sorted(_exports.HOME) == list(_exports.HOME)


@pytest.mark.parametrize("name", _exports.HOME)
def test_each_name_is_the_members_own_object(name: str) -> None:
    assert getattr(pydatatask, name) is getattr(importlib.import_module(_exports.HOME[name]), name)


def test_dir_lists_every_name_before_it_is_used() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import pydatatask; print(*dir(pydatatask))"], capture_output=True, text=True, check=True
    )
    assert set(_exports.HOME) <= set(listed.stdout.split())


def loaded_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has imported after a statement."""
    timed = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], capture_output=True, text=True, check=True
    )
    return {line.rsplit("|", 1)[1].strip() for line in timed.stderr.splitlines()}


def test_import_loads_no_member_and_nothing_heavy() -> None:
    loaded = loaded_after("import pydatatask")
    assert "pydatatask" in loaded
    assert not {name.split(".")[0] for name in loaded} & {*HEAVY, *MEMBERS, "asyncio"}


def test_a_name_of_the_core_loads_no_backend() -> None:
    loaded = {name.split(".")[0] for name in loaded_after("from pydatatask import Session")}
    assert "pydatatask_core" in loaded
    assert not loaded & {"aiobotocore", "click", "pymongo", "rich", "pydatatask_cli", "pydatatask_repos_s3"}


def test_a_missing_member_is_named_with_what_to_install() -> None:
    blocked = "import sys; sys.modules['pydatatask_repos_s3'] = None; "
    for use in ("from pydatatask import S3BucketRepository", "import pydatatask; pydatatask.S3BucketRepository"):
        result = subprocess.run([sys.executable, "-c", blocked + use], capture_output=True, text=True, check=False)
        assert result.returncode == 1
        last = result.stderr.splitlines()[-1]
        assert last.startswith(
            "ModuleNotFoundError: pydatatask.S3BucketRepository is in the package pydatatask-repos-s3"
        )
        assert last.endswith("python -m pip install pydatatask-repos-s3")


def test_a_library_that_a_member_lacks_is_not_taken_for_the_member() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['yaml'] = None; from pydatatask import Session"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "yaml" in result.stderr.splitlines()[-1]
    assert "pip install" not in result.stderr


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pydatatask' has no attribute 'Sesion'"):
        pydatatask.Sesion  # type: ignore[attr-defined]  # noqa: B018  # the point is that it is not there
