"""Conformance suites for repositories, and tools to test what stands on them. Needs ``pydatatask-core[testing]``.

No runtime module imports this one.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in ("blobs", "changes", "metadata", "repositories")))

# The suites must be imported after pytest was told to explain their assertions.
from .blobs import BlobRepositoryTests  # noqa: E402
from .metadata import MetadataRepositoryTests  # noqa: E402
from .repositories import RepositoryTests  # noqa: E402
from .values import as_stored, json_like, same  # noqa: E402

__all__ = [
    "BlobRepositoryTests",
    "MetadataRepositoryTests",
    "RepositoryTests",
    "as_stored",
    "json_like",
    "same",
]
