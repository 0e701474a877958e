"""Importing the package costs what is used of it, and nothing more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from programs import DEADLINE, environment

BACKENDS = {"aiobotocore", "aiodocker", "aiofiles", "aiohttp", "asyncssh", "botocore", "kubernetes_asyncio", "motor"}
DISPLAYS = {"click", "rich"}


def test_importing_loads_no_backend_and_no_display(tmp_path: Path) -> None:
    loaded = imported_by("import pydatatask", tmp_path)

    assert "pydatatask" in loaded
    assert not loaded & (BACKENDS | DISPLAYS | {"pymongo"})


def test_a_pipeline_of_files_loads_no_other_backend(tmp_path: Path) -> None:
    loaded = imported_by("import pydatatask; pydatatask.FileRepository; pydatatask.Pipeline", tmp_path)

    assert "pydatatask_repos_filesystem" in loaded
    assert not loaded & {"aiobotocore", "botocore", "asyncssh", "kubernetes_asyncio", "motor", "rich"}


def imported_by(program: str, folder: Path) -> set[str]:
    """Give the top-level modules that a program imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return {name.partition(".")[0] for name in names}
