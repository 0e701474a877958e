"""Pipelines in memory for tests in this process, and in files for tests of the real command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydatatask_core import InProcessBlobRepository, InProcessMetadataRepository

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from cli_books import Books, MemoryBooks
from cli_process import Place

__all__ = ["books", "place"]


@pytest.fixture
def books() -> MemoryBooks:
    """Two tasks in memory: ``summary`` makes reports of texts, ``index`` is plugged into it."""
    return Books(InProcessBlobRepository, InProcessMetadataRepository)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder in which the real command is run."""
    place = Place(tmp_path)
    yield place
    place.end_all()
