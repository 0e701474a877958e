"""What is checked over all members at once, in the workspace's own environment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .members import Member
from .steps import ROOT, Step, run, run_tests

__all__ = ["contracts", "integration", "style", "types", "unit_tests"]

PYTHON = Path(sys.executable)
INTEGRATION = ROOT / "integration-tests"


def style(folders: Sequence[Path]) -> list[Step]:
    """Format and lint, of these folders or of everything."""
    return [
        Step("format (ruff)", lambda: run(_tool("ruff"), "format", "--check", "--diff", *folders)),
        Step("lint (ruff)", lambda: run(_tool("ruff"), "check", *folders)),
    ]


def types(members: Sequence[Member]) -> Step:
    """Types of sources, tests and tools.

    Tests of several members have modules of one name, so the sources are checked in one run and each member's tests
    in one of their own; the cache makes the second and later runs short.
    """

    def check() -> None:
        run(*_MYPY, "tools", *(member.folder / "src" for member in members))
        for folder in (*(member.tests for member in members), *(member.folder / "examples" for member in members)):
            if _has_python(folder):
                run(*_MYPY, folder)
        if _has_python(INTEGRATION):
            run(*_MYPY, INTEGRATION)

    return Step("types (mypy --strict)", check)


def contracts() -> Step:
    """Who may import whom."""
    return Step("import contracts (import-linter)", lambda: run(_tool("lint-imports"), "--no-logo"))


def unit_tests(members: Sequence[Member], marks: str) -> Step:
    """The tests of all members and of the tools in one run, on every core, the tests of one file together."""

    def check() -> None:
        folders = [folder for member in members if _has_python(folder := member.tests)]
        run_tests(PYTHON, "-n", "auto", "--dist", "loadfile", "-m", marks, ROOT / "tools" / "tests", *folders)

    return Step("tests of all members, in the workspace's environment", check)


def tools_tests() -> Step:
    """The tests of the tools."""
    return Step("tests of the tools", lambda: run_tests(PYTHON, ROOT / "tools" / "tests"))


def integration(marks: str) -> list[Step]:
    """Whole pipelines; no step where there are none."""
    if not _has_python(INTEGRATION):
        return []
    return [Step("integration tests", lambda: run_tests(PYTHON, "-m", marks, INTEGRATION, may_be_empty=True))]


def _has_python(folder: Path) -> bool:
    return any(folder.rglob("*.py"))


def _tool(name: str) -> Path:
    return PYTHON.parent / name


_MYPY = (_tool("mypy"), "--pretty")
