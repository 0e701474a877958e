"""One server for all tests, a bucket and a client for each. No test here may block the event loop from our code."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from aiobotocore.session import get_session  # type: ignore[import-untyped]  # it has no type information
from pydatatask_core.testing.blocking import may_block, no_blocking

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

from s3_server import MakeClient, Server, running

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["bucket", "bucket_name", "client", "make_client", "may_block", "no_blocking", "server", "strict_server"]

_session = get_session()
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def strict_server() -> Iterator[Server]:
    """A server that checks signatures and permissions."""
    with running(authentication=True) as server:
        yield server


@pytest.fixture(scope="session")
def make_client(server: Server) -> MakeClient:
    """Give what makes clients; arguments replace those of the usual one."""

    def make(**arguments: object) -> AbstractAsyncContextManager[S3Client]:
        usual = {
            "endpoint_url": server.url,
            "aws_access_key_id": server.key,
            "aws_secret_access_key": server.secret,
            # There is no TLS here, and loading the certificates takes six times as long as all the rest.
            "verify": False,
        }
        client = _session.create_client("s3", **{**usual, **arguments})
        return cast("AbstractAsyncContextManager[S3Client]", client)

    return make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[S3Client]:
    async with make_client() as client:
        yield client


@pytest.fixture
def bucket_name() -> str:
    return f"bucket-{next(_numbers)}"


@pytest.fixture
async def bucket(client: S3Client, bucket_name: str) -> str:
    """The name of a fresh bucket."""
    await client.create_bucket(Bucket=bucket_name)
    return bucket_name
