"""What a pod has written, read as one stream."""

from __future__ import annotations

from collections.abc import Sequence

from pydatatask_core.errors import MissingJobError
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from .container_log import ContainerLog
from .looking import OnePod

__all__ = ["LogReader"]


class LogReader(BlobReader):
    """The logs of a pod's containers, one after another; where there are several, each under a line that names it."""

    def __init__(self, pod: OnePod, containers: Sequence[str], *, follow: bool = False, only_new: bool = False) -> None:
        """:param follow: reading waits for more until each container has ended, and for those that have not begun.
        :param only_new: what was written before is left out.
        """
        self._left = [ContainerLog(pod, container, follow=follow, only_new=only_new) for container in containers]
        self._titled = len(self._left) > 1
        self._log: ContainerLog | None = None
        self._ready = b""
        self._closed = False

    async def begin(self) -> None:
        """Open the first log that there is.

        :raises MissingJobError: if there is none.
        """
        missing: MissingJobError | None = None
        while self._left and self._log is None:
            missing = await self._next()
        if self._log is None and missing is not None:
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
        while n and not self._ready and (self._log is not None or self._left):
            if self._log is None:
                await self._next()
                continue
            self._ready = await self._log.read()
            if not self._ready:
                self._log.close()
                self._log = None
        data, self._ready = self._ready[:n], self._ready[n:]
        return data

    async def _next(self) -> MissingJobError | None:
        """Open the next container's log; give why there is none."""
        log = self._left.pop(0)
        try:
            await log.open()
        except MissingJobError as error:
            log.close()
            return error
        except BaseException:
            log.close()
            raise
        self._log = log
        if self._titled:
            self._ready = f"==> {log.container} <==\n".encode()
        return None

    @override
    async def close(self) -> None:
        self._closed = True
        if self._log is not None:
            self._log.close()
            self._log = None
