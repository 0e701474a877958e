"""What a pod has written, read as one stream."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
from pydatatask_core.errors import MissingJobError
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from ._client import Cluster
from ._errors import Call, unreachable

__all__ = ["LogReader"]

STORED = aiohttp.ClientTimeout(sock_connect=10.0, sock_read=60.0)
FOLLOWED = aiohttp.ClientTimeout(sock_connect=10.0)


class LogReader(BlobReader):
    """The logs of a pod's containers, one after another; where there are several, each under a line that names it."""

    def __init__(
        self, cluster: Cluster, call: Call, containers: Sequence[str], *, follow: bool = False, tail: int | None = None
    ) -> None:
        """:param follow: reading waits for more until each container has ended.
        :param tail: lines at the end to begin with; None begins with the first.
        """
        self._cluster = cluster
        self._call = call
        self._left = list(containers)
        self._titled = len(self._left) > 1
        self._follow = follow
        self._options = [
            *([("follow", "true")] if follow else ()),
            *([("tailLines", str(tail))] if tail is not None else ()),
        ]
        self._response: aiohttp.ClientResponse | None = None
        self._ready = b""
        self._closed = False

    async def begin(self) -> None:
        """Open the first log that there is.

        :raises MissingJobError: if there is none.
        """
        missing: MissingJobError | None = None
        while self._left and self._response is None:
            missing = await self._next()
        if self._response is None and missing is not None:
            raise missing

    async def skip(self, size: int) -> None:
        """Move on by some bytes: the server knows no offsets."""
        while size > 0 and (data := await self.read(min(size, CHUNK))):
            size -= len(data)

    @override
    async def read(self, n: int = -1, /) -> bytes:
        if self._closed:
            raise ValueError("read of a closed log")
        if n < 0:
            parts = []
            while part := await self.read(CHUNK):
                parts.append(part)
            return b"".join(parts)
        while n and not self._ready and (self._response is not None or self._left):
            if self._response is None:
                await self._next()
            else:
                await self._fill(self._response)
        data, self._ready = self._ready[:n], self._ready[n:]
        return data

    async def _fill(self, response: aiohttp.ClientResponse) -> None:
        try:
            self._ready = await response.content.read(CHUNK)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self._call, self._cluster.server, error) from error
        if not self._ready:
            response.close()
            self._response = None

    async def _next(self) -> MissingJobError | None:
        """Open the next container's log; give why there is none."""
        container = self._left.pop(0)
        query = [("container", container), *self._options]
        try:
            self._response = await self._cluster.open(
                self._call, query=query, patience=FOLLOWED if self._follow else STORED
            )
        except MissingJobError as error:
            return error
        if self._titled:
            self._ready = f"==> {container} <==\n".encode()
        return None

    @override
    async def close(self) -> None:
        self._closed = True
        if self._response is not None:
            self._response.close()
            self._response = None
