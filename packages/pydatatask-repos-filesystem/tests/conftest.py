"""No test here may block the event loop from within our code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from pydatatask_core.testing.blocking import no_blocking

__all__ = ["may_block", "no_blocking"]


@pytest.fixture(scope="session")
def may_block() -> Mapping[str, Collection[str]]:
    """Making a repository follows the symbolic links of its folder. Pipelines are made before they run."""
    return {"pydatatask_repos_filesystem/folder.py": ["__init__"]}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def as_nobody() -> Callable[[], AbstractContextManager[None]]:
    """Give what makes all threads those of an ordinary user for a while: root may do everything."""

    @contextmanager
    def nobody() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return nobody
