"""No test here may block the event loop from within our code."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest
from pydatatask_core.testing.blocking import no_blocking

__all__ = ["may_block", "no_blocking"]


@pytest.fixture(scope="session")
def may_block() -> Mapping[str, Collection[str]]:
    """Making a repository follows the symbolic links of its folder. Pipelines are made before they run."""
    return {"pydatatask_repos_filesystem/folder.py": ["__init__"]}
