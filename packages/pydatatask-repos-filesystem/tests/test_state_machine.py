"""Random operations on files and directories agree with a dict."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pydatatask_core.repository.protocols import MetadataRepository, Repository
from pydatatask_core.testing import Faults, faulty, repository_machine
from pydatatask_repos_filesystem import FileRepository, JsonMetadataFileRepository, YamlMetadataFileRepository

Factory = Callable[[], AbstractAsyncContextManager[Repository]]
SETTINGS = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def fresh(kind: Callable[[str], Repository]) -> Factory:
    @asynccontextmanager
    async def factory() -> AsyncIterator[Repository]:
        with tempfile.TemporaryDirectory() as folder:
            yield kind(f"{folder}/made/by/validate")

    return factory


def data_alone(repo: MetadataRepository) -> Repository:
    """Give a view of what is bytes and data, as data and nothing else: the machine knows one or the other."""
    return faulty(repo, Faults())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        FileRepository,
        lambda path: FileRepository(path, ".txt", True),
        lambda path: data_alone(YamlMetadataFileRepository(path)),
        lambda path: data_alone(JsonMetadataFileRepository(path)),
        lambda path: data_alone(YamlMetadataFileRepository(path, durable=True)),
    ],
    ids=["files", "any case", "yaml", "json", "durable"],
)
def test_random_operations_agree_with_a_dict(kind: Callable[[str], Repository]) -> None:
    run_state_machine_as_test(repository_machine(fresh(kind)), settings=SETTINGS)
