"""Reading an object as a stream that survives broken connections.

A transfer of many gigabytes meets a broken connection sooner or later. The rest is then asked for by range, on the
condition that the object is still the one that the first bytes came from.
"""

from __future__ import annotations

import asyncio
from typing import cast

from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from ._bucket import Body, Bucket
from ._errors import REFUSALS, TRANSPORT_ERRORS, error_status

__all__ = ["S3Reader"]

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before each attempt to go on after a broken connection; counted anew once bytes have come."""


class S3Reader(BlobReader):
    """The bytes of one object, as it was when it was opened.

    ``read(n)`` gives exactly ``n`` bytes unless the object ends before, and holds no more than them. A cancelled
    read loses nothing: the next one goes on where the last one that returned ended.
    """

    def __init__(self, bucket: Bucket, key: str, job: str, body: Body, etag: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self._doing = f"read job {job!r}"
        self._body = body
        self._etag = etag
        self._size = size
        self._received = 0
        self._ready: list[bytes] = []
        self._checked = False
        self._closed = False

    @classmethod
    async def open(cls, bucket: Bucket, key: str, job: str) -> S3Reader:
        """Ask for an object.

        :raises MissingJobError: if there is no such object.
        :raises StoreUnavailableError: if the store fails.
        """
        with bucket.translated(f"read job {job!r}"):
            answer = await bucket.client.get_object(Bucket=bucket.name, Key=key)
        return cls(bucket, key, job, cast("Body", answer["Body"]), answer["ETag"], answer["ContentLength"])

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError("Cannot read from a closed reader.")
        missing = n - sum(map(len, self._ready))
        while n < 0 or missing > 0:
            data = await self._receive(CHUNK if n < 0 else missing)
            if not data:
                break
            self._ready.append(data)
            missing -= len(data)
        ready = b"".join(self._ready)
        if n < 0 or missing >= 0:
            self._ready = []
            return ready
        # More is ready than asked for only after the cancellation of a read that asked for more.
        self._ready = [ready[n:]]
        return ready[:n]

    @override
    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._ready.clear()
            await self._body.__aexit__(None, None, None)

    async def _receive(self, most: int) -> bytes:
        """Give between one byte and ``most``; ``b""`` at the end of the object, once its checksum is right."""
        pauses = iter(PAUSES)
        while self._received < self._size:
            broken: Exception | None = None
            try:
                data = await self._body.read(most)
            except TRANSPORT_ERRORS as error:
                data, broken = b"", error
            if data:
                self._received += len(data)
                return data
            pause = next(pauses, None)
            if pause is None:
                raise self._broken("and so did the attempts to go on. Check the network to the store") from broken
            await asyncio.sleep(pause)
            await self._resume()
        if not self._checked:
            with self._bucket.translated(self._doing):
                # The SDK compares the checksum when it sees the end.
                await self._body.read(1)
            self._checked = True
        return b""

    async def _resume(self) -> None:
        try:
            with self._bucket.translated(self._doing):
                answer = await self._bucket.client.get_object(
                    Bucket=self._bucket.name, Key=self._key, Range=f"bytes={self._received}-", IfMatch=self._etag
                )
        except LookupError as error:
            raise self._broken("and the value was deleted meanwhile") from error
        except StoreUnavailableError as error:
            if isinstance(error.__cause__, REFUSALS) and error_status(error.__cause__) == 412:
                raise self._broken("and the value was replaced meanwhile") from error
            raise
        broken, self._body = self._body, cast("Body", answer["Body"])
        await broken.__aexit__(None, None, None)
        if answer.get("ContentRange", "").partition("-")[0] != f"bytes {self._received}":
            raise self._broken("and the store does not send parts of an object")

    def _broken(self, why: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"Cannot {self._doing} in S3 bucket {self._bucket.name!r} at {self._bucket.endpoint}: the connection broke "
            f"after {self._received} of {self._size} bytes, {why}. Read it again from the beginning."
        )
