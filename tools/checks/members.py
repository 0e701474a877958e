"""The members of the workspace, as their folders tell."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from .steps import ROOT

__all__ = ["Member", "members"]


@dataclass(frozen=True)
class Member:
    """One distribution of the workspace."""

    name: str
    version: str
    folder: Path

    @property
    def module(self) -> str:
        """The one top-level module it installs."""
        return self.name.replace("-", "_")

    @property
    def tests(self) -> Path:
        """Where its tests are."""
        return self.folder / "tests"

    @property
    def typed(self) -> list[Path]:
        """The folders whose types are checked."""
        return [folder for name in ("src", "tests", "examples") if (folder := self.folder / name).is_dir()]


def members() -> list[Member]:
    """Find every member, the core first, the meta-package last: a fault is found where it is made."""
    found = []
    for file in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(file.read_text())["project"]
        found.append(Member(project["name"], project["version"], file.parent))
    return sorted(found, key=lambda member: (member.name == "pydatatask", member.name != "pydatatask-core"))
