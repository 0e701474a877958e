"""10,000 keys in S3 behind three links: each look lists them once, counted in requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiobotocore.session import get_session  # type: ignore[import-untyped]  # it has no type information
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from pydatatask_core.pipeline.events import Event, Listed
from pydatatask_repos_s3 import S3BucketRepository

from ..chains import nothing
from ..harness import Case, Figures

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["CASE"]

KEYS = 10_000
LINKS = 3
LOOKS = 2
BUCKET = "bench"


@asynccontextmanager
async def client_of_a_filled_server() -> AsyncIterator[S3Client]:
    """Start a server in this process and put the keys behind its back: by requests that takes minutes."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        async with get_session().create_client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name="us-east-1",
            aws_access_key_id="bench",
            aws_secret_access_key="bench",
        ) as client:
            await client.create_bucket(Bucket=BUCKET)
            backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
            for number in range(KEYS):
                backend.put_object(BUCKET, f"job{number:05}", b"")
            yield client
    finally:
        server.stop()


async def measure() -> Figures:
    async with client_of_a_filled_server() as client:
        requests: Counter[str] = Counter()

        def count(event_name: str, **_: object) -> None:
            requests[event_name.rpartition(".")[2]] += 1

        tasks: list[InProcessSyncTask] = []
        for number in range(LINKS):
            task = InProcessSyncTask(f"t{number}", InProcessMetadataRepository(), func=nothing)
            # An object of its own for each link: they are one store because they stand on one place.
            task.link("source", S3BucketRepository(provide, BUCKET), is_input=True)
            # Nothing starts: what is counted is the looking.
            task.link("missing", InProcessMetadataRepository(), required_for_start=True)
            tasks.append(task)
        CLIENT.append(client)
        async with Pipeline(tasks, Session()) as pipeline:
            client.meta.events.register("before-send.s3", count)
            looks = asyncio.Queue[None]()

            def observe(event: Event) -> None:
                if isinstance(event, Listed) and event.jobs == KEYS:
                    looks.put_nowait(None)

            controller = pipeline.make_controller([observe])
            running = asyncio.ensure_future(controller.run(forever=True))
            await looks.get()
            feed = next(feed for feed in controller.feeds if isinstance(feed.repo, S3BucketRepository))
            for _ in range(LOOKS - 1):
                await feed.look()
            client.meta.events.unregister("before-send.s3", count)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return {
        "keys": KEYS,
        "links": LINKS,
        "looks": LOOKS,
        "list_requests": requests["ListObjectsV2"],
        "other_requests": requests.total() - requests["ListObjectsV2"],
        "requests_of_a_bare_listing": LOOKS * KEYS // 1000,
    }


CLIENT: list[S3Client] = []


def provide() -> S3Client:
    return CLIENT[-1]


CASE = Case("s3-look", "each look lists the store once, however many links share it", measure)
