"""Jobs as the objects of an S3 bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from pydatatask_core.cancelling import to_the_end
from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.job import check_job, is_valid_job_id
from pydatatask_core.repository.naming import name_client
from pydatatask_core.repository.protocols import StreamRepository, ValidKeys
from pydatatask_core.streams import BlobReader, BlobWriter
from typing_extensions import override

from ._bucket import Body, Bucket
from ._errors import REFUSALS, error_code
from .address import Address, S3BucketInfo
from .reader import S3Reader
from .sweep import sweep
from .writer import S3Writer

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.literals import BucketLocationConstraintType
    from types_aiobotocore_s3.type_defs import ListObjectsV2RequestTypeDef

__all__ = ["S3BucketRepository"]


class S3BucketRepository(StreamRepository):
    """A bucket of S3 or a compatible store; each object whose key is prefix, job, suffix is a job's value.

    ``client`` is a callable that gives an open aiobotocore S3 client, as :meth:`Session.resource` makes it.
    ``bucket`` is a bucket's name, optionally followed by ``/`` and a key prefix: ``"books/"`` is the bucket
    ``books``, ``"lake/raw/"`` the bucket ``lake`` with the prefix ``raw/``; ``prefix`` is added to that.
    ``mimetype`` is what stored values are labelled with. ``incluster_endpoint`` is the URL of the server that
    :meth:`info` gives, where the tasks reach it under another one than this process.

    Keys without prefix and suffix are not the repository's business. Folders under the prefix hold no jobs.

    :raises ConfigurationError: if ``bucket`` names none, or ``suffix`` ends in ``/``.
    """

    def __init__(
        self,
        client: Callable[[], S3Client],
        bucket: str,
        suffix: str = "",
        *,
        prefix: str = "",
        mimetype: str = "application/octet-stream",
        incluster_endpoint: str | None = None,
    ) -> None:
        self._client = client
        self._address = Address.parse(bucket, prefix, suffix)
        self._bucket = Bucket(client, self._address.bucket)
        self._location = f"s3:{name_client(client)}/{self._address}"
        self.mimetype = mimetype
        self.incluster_endpoint = incluster_endpoint

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} s3://{self._address}>"

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._address.bucket

    @property
    def prefix(self) -> str:
        """What comes before the job in a key."""
        return self._address.prefix

    @property
    def suffix(self) -> str:
        """What comes after the job in a key."""
        return self._address.suffix

    @property
    @override
    def location(self) -> str:
        """The client callable by name, the bucket, prefix and suffix.

        The endpoint is not in it, because nothing is connected yet when it is asked for. So two callables are taken
        for two stores, even if they connect to the same one.
        """
        return self._location

    @property
    @override
    def resources(self) -> frozenset[object]:
        return frozenset({self._client})

    def object_name(self, job: str, /) -> str:
        """Give the key of a job's object.

        :raises JobIdError: for a string that is no valid job id.
        """
        return self._address.key(check_job(job))

    @override
    async def info(self, job: str, /) -> S3BucketInfo:
        """Give the address of the job's object, whether it exists or not. No request is made.

        :raises SessionClosedError: if the client is not open and there is no ``incluster_endpoint``.
        """
        key = self.object_name(job)
        return S3BucketInfo(
            endpoint=self._bucket.endpoint if self.incluster_endpoint is None else self.incluster_endpoint,
            uri=f"s3://{self.bucket}/{key}",
            bucket=self.bucket,
            prefix=self.prefix,
            suffix=self.suffix,
        )

    @override
    async def contains(self, job: str, /) -> bool:
        """Tell whether the job's object is there, by asking for its first byte.

        HEAD would be the obvious request, but its answers have no body: there a missing object looks like a
        missing bucket, and somebody else's bucket like wrong credentials.
        """
        key = self.object_name(job)
        with self._bucket.translated(f"look for job {job!r}"):
            try:
                answer = await self._bucket.client.get_object(Bucket=self.bucket, Key=key, Range="bytes=0-0")
            except REFUSALS as error:
                if error_code(error) == "NoSuchKey":
                    return False
                if error_code(error) in _PRESENT:
                    return True
                raise
            body = cast("Body", answer["Body"])
            try:
                # A body that was read leaves its connection open for the next request.
                await body.read(1)
            finally:
                await body.__aexit__(None, None, None)
        return True

    @override
    async def delete(self, job: str, /) -> None:
        await to_the_end(self._delete(job, self.object_name(job)))

    async def _delete(self, job: str, key: str) -> None:
        with self._bucket.translated(f"delete job {job!r}"):
            await self._bucket.client.delete_object(Bucket=self.bucket, Key=key)
        self.changes.removed(job)

    @override
    async def reader(self, job: str, /) -> BlobReader:
        return await S3Reader.open(self._bucket, self.object_name(job), job)

    @override
    async def writer(self, job: str, /) -> BlobWriter:
        key = self.object_name(job)
        # Asked for here, so that a closed session is found before anything is written.
        _ = self._bucket.client
        return S3Writer(self._bucket, key, job, self.mimetype, lambda: self.changes.added(job))

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        """Give what stands between prefix and suffix of each key. A folder under the prefix is given as one name."""
        async for page in self._listing():
            for name, _ in page:
                yield name

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        """Give the valid jobs a page at a time, as the store lists them: by the thousand, in order of their keys."""
        async for page in self.versions():
            yield [job for job, _ in page]

    @override
    async def versions(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of jobs with their ETags, from the same listing that gives the keys."""
        keys = ValidKeys(self)
        async for page in self._listing():
            valid: list[tuple[str, str]] = []
            for name, etag in page:
                if is_valid_job_id(name):
                    valid.append((name, etag))
                else:
                    keys.skip(name)
            yield valid
        keys.report()

    async def _listing(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Give pages of names and ETags, one request each; names may be no job ids."""
        address = self._address
        request: ListObjectsV2RequestTypeDef = {"Bucket": self.bucket, "Prefix": address.prefix}
        if address.delimiter:
            request["Delimiter"] = address.delimiter
        while True:
            with self._bucket.translated("list the jobs"):
                page = await self._bucket.client.list_objects_v2(**request)
            names = [(address.name(found["Key"]), found["ETag"]) for found in page.get("Contents", [])]
            folders = [(folder["Prefix"][len(address.prefix) :], "") for folder in page.get("CommonPrefixes", [])]
            yield [(name, etag) for name, etag in names if name is not None] + folders
            if not page.get("IsTruncated"):
                return
            if not page.get("NextContinuationToken"):
                raise StoreUnavailableError(
                    f"Cannot list the jobs in S3 bucket {self.bucket!r} at {self._bucket.endpoint}: the store says "
                    "that there is more, and not how to ask for it. It may not know ListObjectsV2."
                )
            request["ContinuationToken"] = page["NextContinuationToken"]

    @override
    async def validate(self) -> None:
        """Make the bucket if it is missing, see that we may use it, and abort uploads that were left behind.

        Left behind is an upload that a killed process began: :func:`~.sweep.sweep` says how it is told from others'.

        :raises StoreCredentialsError: if the store refuses the credentials.
        :raises StorePermissionError: if the bucket is somebody else's.
        :raises StoreUnavailableError: if the endpoint does not answer.
        """
        with self._bucket.translated("list the jobs"):
            try:
                await self._look()
            except REFUSALS as error:
                if error_code(error) != "NoSuchBucket":
                    raise
                await self._make()
                await self._look()
        await sweep(self._bucket, self._address, datetime.now(UTC))

    async def _look(self) -> None:
        await self._bucket.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    async def _make(self) -> None:
        client = self._bucket.client
        region = cast("BucketLocationConstraintType | None", client.meta.region_name)
        with self._bucket.translated("make the missing bucket"):
            try:
                if region in _NO_LOCATION:
                    await client.create_bucket(Bucket=self.bucket)
                else:
                    await client.create_bucket(
                        Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": region}
                    )
            except REFUSALS as error:
                # Somebody was faster; the look that follows tells whether it was one of us.
                if error_code(error) not in _MADE_MEANWHILE:
                    raise


_PRESENT = frozenset({"InvalidRange", "InvalidObjectState"})
"""Refusals of a first byte by an object that is there: it is empty, or archived."""

_NO_LOCATION = (None, "us-east-1", "aws-global")
"""Regions that are not to be named when a bucket is made there."""

_MADE_MEANWHILE = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists", "OperationAborted"})
