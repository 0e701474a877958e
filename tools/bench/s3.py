"""moto's S3 server in a process of its own, and a client of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from aiobotocore.session import get_session  # type: ignore[import-untyped]  # it has no type information

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["BUCKET", "client_of_a_server"]

BUCKET = "bench"


@asynccontextmanager
async def client_of_a_server() -> AsyncIterator[S3Client]:
    """Start a server, and give a client of it with an empty bucket; both end with the block."""
    with _server() as endpoint:
        async with get_session().create_client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        ) as client:
            await client.create_bucket(Bucket=BUCKET)
            yield client


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield _endpoint(server.stderr)
        finally:
            server.kill()


def _endpoint(lines: Iterator[str]) -> str:
    for line in lines:
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
            return found[1]
    raise RuntimeError("The S3 server ended before it told its address.")
