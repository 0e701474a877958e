"""A member by itself, as a user has it: what it declares must be all that it needs, and its wheel all that it is.

In the workspace's environment an undeclared import works, because somebody else's dependency brings it, and so does a
file that no wheel holds, because members are imported from their sources.
"""

from __future__ import annotations

from pathlib import Path

from .members import Member, members
from .steps import ROOT, Step, StepFailedError, run, run_tests

__all__ = ["alone"]

HERE = Path(__file__).parent
FOLDER = ROOT / ".alone"
"""Environments and type caches are kept from one run to the next, one folder for each member."""


def alone(uv: Path, member: Member, marks: str) -> Step:
    """Import, check and test one member's wheel with nothing installed but what it declares."""

    def check() -> None:
        if not any(member.tests.rglob("test_*.py")):
            raise StepFailedError(f"{member.name} has no tests")
        home = FOLDER / member.name
        python = home / "venv" / "bin" / "python"
        sync = (uv, "sync", "--quiet", "--locked", "--no-editable", "--package", member.name)
        environment = {"UV_PROJECT_ENVIRONMENT": str(home / "venv")}
        # A wheel of the same version may hold what the sources were an hour ago.
        anew = [word for each in members() for word in ("--reinstall-package", each.name)]

        # First without the test tools, which bring libraries of their own.
        run(*sync, "--no-default-groups", *anew, env=environment)
        run(python, "-I", HERE / "import_all.py", member.module)
        run(python, "-I", HERE / "installed.py", home / "venv", member.module)

        run(*sync, "--group", "test", env=environment)
        run(python.with_name("mypy"), "--pretty", "--cache-dir", home / "mypy", member.folder / "src")
        run_tests(python, "-m", marks, member.tests)

    return Step(f"{member.name} alone, with what it declares", check)
