"""The members as a user gets them: built, installed by the resolver, and imported where no source can be."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .members import Member
from .steps import ROOT, Step, run, run_tests

__all__ = ["Wheels"]


class Wheels:
    """The steps share one folder: ``dist``, an index of it, an environment, and a copy of the last member's tests."""

    def __init__(self, uv: Path, members: Sequence[Member], folder: Path, marks: str) -> None:
        self._uv = uv
        self._members = members
        self._folder = folder
        self._marks = marks
        self._dist = folder / "dist"
        self._python = folder / "venv" / "bin" / "python"
        self._suite = folder / "suite"

    def steps(self) -> list[Step]:
        """Build, install, test."""
        return [
            Step("build source distributions and wheels", self.build),
            Step("install the wheels as a user would", self.install),
            Step("what was installed imports, whole, and by the names of the meta-package", self.test),
        ]

    def build(self) -> None:
        """Build every member, each wheel from its source distribution, and lay out an index of the wheels."""
        run(self._uv, "build", "--quiet", "--all-packages", "--out-dir", self._dist)
        for wheel in self._dist.glob("*.whl"):
            page = self._folder / "index" / wheel.name.split("-")[0].replace("_", "-") / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(f'<a href="{wheel.as_uri()}">{wheel.name}</a>\n')

    def install(self) -> None:
        """Let the resolver find the members in the index of the wheels and everything else where it always is.

        An index that holds a name hides it in those behind it, so members come from the wheels alone. Third parties
        are held to the versions of the lock file: what a stranger releases today is no fault of this change.
        """
        constraints = self._folder / "constraints.txt"
        export = ("--frozen", "--all-packages", "--all-groups", "--all-extras", "--no-hashes", "--no-emit-workspace")
        run(self._uv, "export", "--quiet", *export, "--output-file", constraints)
        run(self._uv, "venv", "--quiet", "--python", sys.executable, self._python.parents[1])
        groups = [word for member in self._members for word in ("--group", f"{member.folder}/pyproject.toml:test")]
        meta = self._members[-1]
        run(
            *(self._uv, "pip", "install", "--quiet", "--python", self._python, "--no-sources"),
            *("--index", (self._folder / "index").as_uri(), "--constraint", constraints),
            *(f"{meta.name}=={meta.version}", *groups),
        )
        run(self._uv, "pip", "check", "--quiet", "--python", self._python)

    def test(self) -> None:
        """Import every module, after making sure that the wheels are what is imported, and test the last member.

        It is the one that hands all others on; their own tests were run against their wheels before.
        """
        self._copy_tests()
        modules = [member.module for member in self._members]
        here = Path(__file__).parent
        run(self._python, "-I", here / "installed.py", self._python.parents[1], *modules, cwd=self._suite)
        for module in modules:
            run(self._python, "-I", here / "import_all.py", module, cwd=self._suite)
        tests = self._members[-1].tests.relative_to(ROOT)
        run_tests(self._python, "-m", self._marks, tests, cwd=self._suite)

    def _copy_tests(self) -> None:
        for folder in (ROOT, self._members[-1].folder):
            copy = self._suite / folder.relative_to(ROOT)
            copy.mkdir(parents=True, exist_ok=True)
            for name in ("tests", "examples"):
                if (folder / name).is_dir():
                    shutil.copytree(folder / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            # Pytest is configured in the one, and the examples of the other are tested.
            for name in ("pyproject.toml", "README.md"):
                shutil.copy(folder / name, copy)
