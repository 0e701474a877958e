"""Random operations on collections agree with a dict."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from mongo import Driver, collection
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.testing import repository_machine
from pydatatask_repos_mongodb import MongoMetadataRepository

# Each operation is a request or more, and each example needs a client of its own.
SETTINGS = settings(max_examples=5, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
def test_random_operations_agree_with_a_dict(driver: Driver, url: str, name: str) -> None:
    numbers = itertools.count()

    @asynccontextmanager
    async def factory() -> AsyncIterator[Repository]:
        async with collection(driver, url, f"{name}-{next(numbers)}") as live:
            yield MongoMetadataRepository(lambda: live)

    run_state_machine_as_test(repository_machine(factory), settings=SETTINGS)
