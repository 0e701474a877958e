"""Writing an object: one request for a small value, a multipart upload for a large one.

Either way the object appears, whole, with the last request and not before.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pydatatask_core.cancelling import to_the_end
from pydatatask_core.errors import StoreFullError
from pydatatask_core.streams import BlobWriter
from typing_extensions import override

from ._bucket import Bucket
from ._errors import REFUSALS, error_code
from .parts import MAX_PARTS, part_size

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

__all__ = ["S3Writer"]

_log = logging.getLogger("pydatatask.repository")

_CHECKSUMS = ("ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")


class S3Writer(BlobWriter):
    """An object in the making. Holds at most one part of it.

    A cancelled close waits until the request that publishes is answered, at most
    :data:`~pydatatask_core.cancelling.GRACE` seconds, so that it is known what became of it. A failure publishes
    nothing, with one exception that no client can rule out: if the connection is lost for good while the answer to
    the very last request is awaited, the whole value may be there in spite of the error.
    """

    def __init__(self, bucket: Bucket, key: str, job: str, mimetype: str, published: Callable[[], None]) -> None:
        """``published`` is called when the object is there."""
        self._bucket = bucket
        self._key = key
        self._doing = f"write job {job!r}"
        self._mimetype = mimetype
        self._published = published
        self._buffer: io.BytesIO | None = io.BytesIO()
        self._upload = ""
        self._parts: list[CompletedPartTypeDef] = []
        self._failed = False

    @override
    async def write(self, data: bytes, /) -> int:
        if self._buffer is None or self._failed:
            raise ValueError("Cannot write to a writer that was closed or that failed before.")
        rest = memoryview(data).cast("B")
        while rest:
            room = part_size(len(self._parts) + 1) - self._buffer.tell()
            if room == 0:
                await self._send_part(self._buffer)
                self._buffer = io.BytesIO()
                continue
            self._buffer.write(rest[:room])
            rest = rest[room:]
        return len(data)

    @override
    async def close(self) -> None:
        buffer = self._buffer
        if buffer is None:
            return
        if self._failed:
            await self.abort()
            raise ValueError(f"Cannot {self._doing}: an earlier write failed, so nothing was published.")
        try:
            if self._upload:
                await self._send_part(buffer)
            await to_the_end(self._publish(buffer))
        finally:
            await self.abort()

    @override
    async def abort(self) -> None:
        self._buffer = None
        upload, self._upload = self._upload, ""
        if upload:
            await to_the_end(self._abort(upload))

    async def _publish(self, buffer: io.BytesIO) -> None:
        with self._bucket.translated(self._doing):
            if self._upload:
                await self._bucket.client.complete_multipart_upload(
                    Bucket=self._bucket.name,
                    Key=self._key,
                    UploadId=self._upload,
                    MultipartUpload={"Parts": self._parts},
                )
                self._upload = ""
            else:
                buffer.seek(0)
                await self._bucket.client.put_object(
                    Bucket=self._bucket.name, Key=self._key, Body=buffer, ContentType=self._mimetype
                )
        self._published()

    async def _send_part(self, buffer: io.BytesIO) -> None:
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            self._failed = True
            raise StoreFullError(
                f"Cannot {self._doing} in S3 bucket {self._bucket.name!r}: the value is larger than "
                f"{MAX_PARTS} parts, the most that S3 takes. Nothing was stored. Divide it."
            )
        # Set until the answer is in, so that a failure or a cancellation leaves it set.
        self._failed = True
        with self._bucket.translated(self._doing):
            if not self._upload:
                # An upload whose name got lost could never be aborted.
                await to_the_end(self._begin())
            buffer.seek(0)
            answer = await self._bucket.client.upload_part(
                Bucket=self._bucket.name, Key=self._key, UploadId=self._upload, PartNumber=number, Body=buffer
            )
        # S3 wants each part's checksum again at the end, if the SDK sent one.
        part = {name: value for name, value in answer.items() if name in _CHECKSUMS and value}
        self._parts.append(cast("CompletedPartTypeDef", {"PartNumber": number, "ETag": answer["ETag"], **part}))
        self._failed = False

    async def _begin(self) -> None:
        answer = await self._bucket.client.create_multipart_upload(
            Bucket=self._bucket.name, Key=self._key, ContentType=self._mimetype
        )
        self._upload = answer["UploadId"]

    async def _abort(self, upload: str) -> None:
        try:
            await self._bucket.client.abort_multipart_upload(Bucket=self._bucket.name, Key=self._key, UploadId=upload)
        except Exception as error:  # noqa: BLE001  # logged, because the error that led here is the one to be seen
            if isinstance(error, REFUSALS) and error_code(error) == "NoSuchUpload":
                return
            _log.warning(
                "Could not abort the upload %s of %r in S3 bucket %r. Nothing was published; the store keeps what was "
                "sent until the repository is validated a day from now, or a lifecycle rule ends it.",
                upload,
                self._key,
                self._bucket.name,
                exc_info=True,
            )
