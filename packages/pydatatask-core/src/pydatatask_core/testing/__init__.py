"""Conformance suites for repositories, and tools to test what stands on them. Needs ``pydatatask-core[testing]``.

No runtime module imports this one.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{name}"
        for name in (
            "blobs",
            "changes",
            "creating",
            "host_losses",
            "host_runs",
            "host_scripts",
            "host_suite",
            "host_verbs",
            "metadata",
            "repositories",
            "sites",
            "state",
            "suite",
        )
    )
)

# The suites must be imported after pytest was told to explain their assertions.
from .blobs import BlobRepositoryTests  # noqa: E402
from .blocking import blocking_forbidden  # noqa: E402
from .creating import CreatingRepositoryTests  # noqa: E402
from .faults import (  # noqa: E402
    Cancel,
    Fail,
    Fault,
    Faults,
    FaultyBlobRepository,
    FaultyMetadataRepository,
    FaultyRepository,
    Hold,
    Kill,
    always,
    faulty,
    nth,
)
from .metadata import MetadataRepositoryTests  # noqa: E402
from .repositories import RepositoryTests  # noqa: E402
from .simulation import SimulatedExecutor, SimulatedLoop, SimulationStuckError, simulate  # noqa: E402
from .sites import ExecutionSiteTests  # noqa: E402
from .state import RepositoryMachine, repository_machine  # noqa: E402
from .steps import run_to_step  # noqa: E402
from .suite import Suite, cut_short  # noqa: E402
from .values import as_stored, json_like, same  # noqa: E402

__all__ = [
    "BlobRepositoryTests",
    "Cancel",
    "CreatingRepositoryTests",
    "ExecutionSiteTests",
    "Fail",
    "Fault",
    "Faults",
    "FaultyBlobRepository",
    "FaultyMetadataRepository",
    "FaultyRepository",
    "Hold",
    "Kill",
    "MetadataRepositoryTests",
    "RepositoryMachine",
    "RepositoryTests",
    "SimulatedExecutor",
    "SimulatedLoop",
    "SimulationStuckError",
    "Suite",
    "always",
    "as_stored",
    "blocking_forbidden",
    "cut_short",
    "faulty",
    "json_like",
    "nth",
    "repository_machine",
    "run_to_step",
    "same",
    "simulate",
]
