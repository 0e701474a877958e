"""A member by itself: what it declares must be all that it needs.

In the workspace's environment an undeclared import works, because somebody else's dependency brings it.
"""

from __future__ import annotations

from pathlib import Path

from .members import Member
from .steps import ROOT, Step, StepFailedError, run, run_tests

__all__ = ["alone"]

FOLDER = ROOT / ".alone"
"""Environments and type caches are kept from one run to the next, one folder for each member."""


def alone(uv: Path, member: Member, marks: str) -> Step:
    """Import, check and test one member with nothing installed but what it declares."""

    def check() -> None:
        if not any(member.tests.rglob("test_*.py")):
            raise StepFailedError(f"{member.name} has no tests")
        home = FOLDER / member.name
        python = home / "venv" / "bin" / "python"
        sync = (uv, "sync", "--quiet", "--locked", "--package", member.name)
        environment = {"UV_PROJECT_ENVIRONMENT": str(home / "venv")}

        # First without the test tools, which bring libraries of their own.
        run(*sync, "--no-default-groups", env=environment)
        run(python, "-I", Path(__file__).with_name("import_all.py"), member.module)

        run(*sync, "--group", "test", env=environment)
        mypy = (python.with_name("mypy"), "--pretty", "--cache-dir", home / "mypy")
        run(*mypy, member.folder / "src")
        run(*mypy, member.tests)
        run_tests(python, "-m", marks, member.tests)

    return Step(f"{member.name} alone, with what it declares", check)
