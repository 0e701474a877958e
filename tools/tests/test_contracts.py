"""Each import contract of the root pyproject.toml is broken once, by one import added to the real graph."""

from __future__ import annotations

import copy
import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from typing import Any

import pytest
from grimp import ImportGraph, build_graph
from importlinter import Contract
from importlinter.api import read_configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.protected import ProtectedContract

from tools.checks.contracts import OnlyContract
from tools.checks.members import members
from tools.checks.steps import ROOT

CONFIGURATION = read_configuration(str(ROOT / "pyproject.toml"))
SETTINGS, CONTRACTS = CONFIGURATION["session_options"], CONFIGURATION["contracts_options"]
TYPES: dict[str, type[Contract]] = {
    "only": OnlyContract,
    "forbidden": ForbiddenContract,
    "protected": ProtectedContract,
}

BREACHES = [
    ("The core imports no sibling and no SDK", "pydatatask_core.job", "aiobotocore"),
    ("The core imports no sibling and no SDK", "pydatatask_core.job", "pydatatask_repos_s3"),
    ("The core imports no sibling and no SDK", "pydatatask_core.job", "pydatatask"),
    ("The conformance suites import the core and test tools", "pydatatask_core.testing", "moto"),
    ("Nothing that runs imports the conformance suites", "pydatatask_core.session", "pydatatask_core.testing"),
    ("Graph, readiness, order and quotas do no input or output", "pydatatask_core.pipeline.readiness", "asyncio"),
    ("Graph, readiness, order and quotas do no input or output", "pydatatask_core.pipeline.graph", "pathlib"),
    ("Graph, readiness, order and quotas do no input or output", "pydatatask_core.pipeline.queues", "time"),
    ("Processes on this machine import the core and no SDK", "pydatatask_exec_local", "asyncssh"),
    ("Processes over SSH import the core and their SDK", "pydatatask_exec_ssh", "pydatatask_exec_local"),
    ("Containers of a Docker engine import the core and their SDK", "pydatatask_exec_docker", "docker"),
    ("Pods of Kubernetes import the core and their SDK", "pydatatask_exec_kubernetes", "pydatatask_cli"),
    (
        "The filesystem repositories import the core and their SDK",
        "pydatatask_repos_filesystem",
        "pydatatask_repos_s3",
    ),
    ("The filesystem repositories import the core and their SDK", "pydatatask_repos_filesystem", "aiobotocore"),
    ("The Docker registry repositories import the core and their SDK", "pydatatask_repos_docker", "aiodocker"),
    ("The MongoDB repositories import the core and their SDK", "pydatatask_repos_mongodb", "pydatatask_repos_s3"),
    ("The MongoDB repositories import the core and their SDK", "pydatatask_repos_mongodb", "motor"),
    ("The S3 repositories import the core and their SDK", "pydatatask_repos_s3", "pydatatask_cli"),
    ("The S3 repositories import the core and their SDK", "pydatatask_repos_s3", "boto3"),
    (
        "The command line imports the core and reaches backends through entry points",
        "pydatatask_cli",
        "pydatatask_repos_s3",
    ),
    ("The command line imports the core and reaches backends through entry points", "pydatatask_cli", "pydatatask"),
    ("The meta-package imports the members", "pydatatask", "aiobotocore"),
]

SDK_PARTS = {"botocore": "aiobotocore", "aiohttp": "aiobotocore"}
"""Modules that a member may use because the SDK it declares is made of them."""


@cache
def graph_as_it_is() -> ImportGraph:
    first, *others = SETTINGS["root_packages"]
    return build_graph(first, *others, include_external_packages=True, cache_dir=None)


def contract(options: dict[str, Any]) -> Contract:
    return TYPES[options["type"]](options["name"], SETTINGS, options)


@pytest.mark.parametrize("options", CONTRACTS, ids=lambda options: str(options["name"]))
def test_contract_is_kept_as_it_is(options: dict[str, Any]) -> None:
    assert contract(options).check(graph_as_it_is(), verbose=False).kept


@pytest.mark.parametrize(("name", "importer", "imported"), BREACHES)
def test_contract_is_broken_by(name: str, importer: str, imported: str) -> None:
    (options,) = [options for options in CONTRACTS if options["name"] == name]
    graph = copy.deepcopy(graph_as_it_is())
    if imported not in graph.modules:
        graph.add_module(imported, is_squashed=True)
    graph.add_import(importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}")
    assert not contract(options).check(graph, verbose=False).kept


def test_each_contract_has_a_breach() -> None:
    assert {name for name, _, _ in BREACHES} == {options["name"] for options in CONTRACTS}


def test_a_contract_about_a_package_that_is_gone_is_an_error() -> None:
    gone = OnlyContract("gone", SETTINGS, {"package": "pydatatask_gone", "allowed": []})
    with pytest.raises(ValueError, match="pydatatask_gone, which does not exist"):
        gone.check(graph_as_it_is(), verbose=False)


def test_a_member_declares_what_it_may_import() -> None:
    distributions = packages_distributions()
    for member in members():
        project = tomllib.loads((member.folder / "pyproject.toml").read_text())
        extras = [word for words in project["project"].get("optional-dependencies", {}).values() for word in words]
        groups = project["dependency-groups"]["test"]
        declared = {normal(word) for word in (*project["project"]["dependencies"], *extras, *groups)}
        for options in CONTRACTS:
            if options["type"] == "only" and options["package"].split(".")[0] == member.module:
                for module in set(options["allowed"]) - {member.module}:
                    sdks = {module, SDK_PARTS.get(module, module)}
                    names = {normal(name) for sdk in sdks for name in distributions.get(sdk, [sdk])}
                    assert names & declared, f"{member.name} may import {module} and does not declare it"


def normal(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return name[0].lower().replace("_", "-").replace(".", "-")


def test_every_folder_of_a_member_is_a_package_and_so_is_seen_by_the_contracts() -> None:
    folders = {file.parent for member in members() for file in (member.folder / "src").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
