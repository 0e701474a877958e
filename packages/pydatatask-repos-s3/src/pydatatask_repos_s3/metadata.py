"""Structured data as the objects of an S3 bucket: one request to read a value, one to write it."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydatatask_core.cancelling import to_the_end
from pydatatask_core.errors import MissingJobError
from pydatatask_core.repository.encoded import EncodedRepository, JsonMetadataRepository, YamlMetadataRepository
from pydatatask_core.repository.protocols import CreatingRepository
from pydatatask_core.repository.value import plain
from typing_extensions import override

from ._errors import REFUSALS, error_status
from .repository import S3BucketRepository

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["JsonMetadataS3Repository", "YamlMetadataS3Repository"]

_MARK = "pydatatask-create"
"""The user metadata of an object that tells which call created it."""


class _S3Metadata(EncodedRepository, S3BucketRepository, CreatingRepository):
    """Data through a codec; absent jobs have the info ``{}``."""

    @override
    def absent(self, job: str, error: MissingJobError) -> dict[str, Any]:
        return {}

    @override
    async def create(self, job: str, data: Any, /) -> bool:
        """Publish ``data`` as the job's value if there is none, and tell whether that was so. The store decides.

        Of several callers at the same time exactly one gets True. The store must know conditional writes
        (``If-None-Match``): AWS does, and Ceph, MinIO and others in their recent versions; older ones replace the
        value that is there.

        After a failure or a cancellation either nothing was stored or the whole value.

        :raises JobIdError: for a string that is no valid job id.
        :raises MalformedValueError: if ``data`` holds what cannot be stored. Nothing was written.
        :raises StoreUnavailableError: if the store fails.
        """
        key = self.object_name(job)
        raw = self.codec.write(plain(data, job, self), job, self)
        return await to_the_end(self._create(job, key, raw))

    async def _create(self, job: str, key: str, raw: bytes) -> bool:
        mark = uuid.uuid4().hex
        with self._bucket.translated(f"create job {job!r}"):
            try:
                await self._bucket.client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=io.BytesIO(raw),
                    ContentType=self.mimetype,
                    Metadata={_MARK: mark},
                    IfNoneMatch="*",
                )
            except REFUSALS as error:
                if error_status(error) != 412:
                    raise
                # A request whose answer was lost is sent again, unseen by us, and then refused because of itself.
                if await self._mark(key) != mark:
                    return False
        self.changes.added(job)
        return True

    async def _mark(self, key: str) -> str | None:
        try:
            answer = await self._bucket.client.head_object(Bucket=self.bucket, Key=key)
        except REFUSALS as error:
            if error_status(error) == 404:
                return None
            raise
        return answer["Metadata"].get(_MARK)


class YamlMetadataS3Repository(YamlMetadataRepository, _S3Metadata):
    """YAML values in a bucket. The arguments are those of :class:`S3BucketRepository`. Absent jobs are ``{}``."""

    def __init__(
        self,
        client: Callable[[], S3Client],
        bucket: str,
        suffix: str = ".yaml",
        *,
        prefix: str = "",
        mimetype: str = "text/yaml",
        incluster_endpoint: str | None = None,
    ) -> None:
        super().__init__(
            client, bucket, suffix, prefix=prefix, mimetype=mimetype, incluster_endpoint=incluster_endpoint
        )


class JsonMetadataS3Repository(JsonMetadataRepository, _S3Metadata):
    """JSON values in a bucket. The arguments are those of :class:`S3BucketRepository`. Absent jobs are ``{}``."""

    def __init__(
        self,
        client: Callable[[], S3Client],
        bucket: str,
        suffix: str = ".json",
        *,
        prefix: str = "",
        mimetype: str = "application/json",
        incluster_endpoint: str | None = None,
    ) -> None:
        super().__init__(
            client, bucket, suffix, prefix=prefix, mimetype=mimetype, incluster_endpoint=incluster_endpoint
        )
