"""Seeing a client's requests go out and their answers come in, by botocore's own events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

Moment = Literal["before-send", "response-received"]


@contextmanager
def recorded(client: S3Client) -> Iterator[list[str]]:
    """Give the list of requests sent in the block, by the names of their operations, retries included."""
    sent: list[str] = []

    def record(event_name: str, **_: object) -> None:
        sent.append(event_name.rpartition(".")[2])

    client.meta.events.register("before-send.s3", record)
    try:
        yield sent
    finally:
        client.meta.events.unregister("before-send.s3", record)


@frozen
class Held:
    """A request that is held up."""

    reached: asyncio.Event = field(factory=asyncio.Event)
    go_on: asyncio.Event = field(factory=asyncio.Event)


@contextmanager
def held(client: S3Client, operation: str, moment: Moment, nth: int = 1) -> Iterator[Held]:
    """Hold the n-th request of an operation up before it is sent, or its answer before the caller sees it."""
    held = Held()
    left = nth

    async def hold(**_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            held.reached.set()
            await held.go_on.wait()

    event = f"{moment}.s3.{operation}"
    client.meta.events.register(event, hold)
    try:
        yield held
    finally:
        client.meta.events.unregister(event, hold)
