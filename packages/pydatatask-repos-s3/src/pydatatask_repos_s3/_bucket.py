"""One bucket behind a client that may not be open yet, and the few requests that more than one part makes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from ._errors import shown, translated

if TYPE_CHECKING:
    from types import TracebackType

    from types_aiobotocore_s3 import S3Client

__all__ = ["Body", "Bucket"]


class Body(Protocol):
    """The bytes of an answer, as aiobotocore gives them for every HTTP backend."""

    async def read(self, amt: int) -> bytes:
        """Give at most ``amt`` bytes; ``b""`` at the end."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Bucket:
    """A bucket's name and the callable that gives the live client."""

    def __init__(self, client: Callable[[], S3Client], name: str) -> None:
        self._client = client
        self.name = name

    @property
    def client(self) -> S3Client:
        """The live client.

        :raises SessionClosedError: if its session is not open on the running event loop.
        """
        return self._client()

    @property
    def endpoint(self) -> str:
        """The URL of the server, without user name and password."""
        endpoint: str = self.client.meta.endpoint_url
        return shown(endpoint)

    def translated(self, doing: str) -> AbstractContextManager[None]:
        """Have the SDK's errors raised as ours. ``doing`` completes the sentence "Cannot ..."."""
        return translated(doing, self.name, self.endpoint)
