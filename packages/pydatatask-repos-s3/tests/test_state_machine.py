"""Random operations on buckets agree with a dict."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from pydatatask_core.repository.protocols import MetadataRepository, Repository
from pydatatask_core.testing import Faults, faulty, repository_machine
from pydatatask_repos_s3 import S3BucketRepository, YamlMetadataS3Repository
from s3_server import MakeClient

# Each operation is a request or more, and each example needs a client of its own.
SETTINGS = settings(max_examples=5, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck))


def data_alone(repo: MetadataRepository) -> Repository:
    """Give a view of what is bytes and data, as data and nothing else: the machine knows one or the other."""
    return faulty(repo, Faults())


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        lambda client, bucket: S3BucketRepository(client, bucket, ".txt", prefix="raw/"),
        lambda client, bucket: data_alone(YamlMetadataS3Repository(client, bucket)),
    ],
    ids=["blobs", "yaml"],
)
def test_random_operations_agree_with_a_dict(
    kind: Callable[..., Repository], make_client: MakeClient, bucket_name: str
) -> None:
    numbers = itertools.count()

    @asynccontextmanager
    async def factory() -> AsyncIterator[Repository]:
        async with make_client() as client:
            yield kind(lambda: client, f"{bucket_name}-{next(numbers)}")

    run_state_machine_as_test(repository_machine(factory), settings=SETTINGS)
