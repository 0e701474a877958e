"""Aborting what a killed process left: uploads of ours that nobody has added to for a day."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydatatask_core.errors import StoreUnavailableError
from pydatatask_core.job import is_valid_job_id

from ._bucket import Bucket
from .address import Address
from .parts import is_ours

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import MultipartUploadTypeDef, PartTypeDef

__all__ = ["FORGOTTEN", "sweep"]

_log = logging.getLogger("pydatatask.repository")

FORGOTTEN = timedelta(days=1)
"""How long nothing must have been added to an upload before it counts as left behind."""


async def sweep(bucket: Bucket, address: Address, now: datetime) -> int:
    """Abort the uploads that are ours and forgotten, and give their number.

    An upload is taken for ours and forgotten if all of this is true:

    1. its key is the key of a valid job at this address;
    2. it was begun more than :data:`FORGOTTEN` before ``now``;
    3. its parts were cut as we cut them, and there is at least one;
    4. the last of them came more than :data:`FORGOTTEN` before ``now``.

    Everything else is left alone. A store that does not let us look, or cannot, is left alone too, with a line in
    the log: nothing depends on the sweep but the space.
    """
    aborted = 0
    try:
        with bucket.translated("look for uploads that were left behind"):
            async for key, upload in _old_uploads(bucket, address, now):
                parts = [part async for part in _parts(bucket, key, upload)]
                if not is_ours([(part["PartNumber"], part["Size"]) for part in parts]):
                    continue
                if parts[-1]["LastModified"] < now - FORGOTTEN:
                    await bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=key, UploadId=upload)
                    aborted += 1
                    _log.info("Aborted the forgotten upload %s of %r in S3 bucket %r.", upload, key, bucket.name)
    except (StoreUnavailableError, LookupError) as error:
        _log.info("Uploads that were left behind were not looked for: %s", error)
    return aborted


async def _old_uploads(bucket: Bucket, address: Address, now: datetime) -> AsyncIterator[tuple[str, str]]:
    key_marker = upload_marker = ""
    while True:
        page = await bucket.client.list_multipart_uploads(
            Bucket=bucket.name, Prefix=address.prefix, KeyMarker=key_marker, UploadIdMarker=upload_marker
        )
        for upload in page.get("Uploads", []):
            if _is_candidate(upload, address, now):
                yield upload["Key"], upload["UploadId"]
        if not page.get("IsTruncated"):
            return
        key_marker, upload_marker = page["NextKeyMarker"], page["NextUploadIdMarker"]


def _is_candidate(upload: MultipartUploadTypeDef, address: Address, now: datetime) -> bool:
    name = address.name(upload["Key"])
    return name is not None and is_valid_job_id(name) and upload["Initiated"] < now - FORGOTTEN


async def _parts(bucket: Bucket, key: str, upload: str) -> AsyncIterator[PartTypeDef]:
    marker = 0
    while True:
        page = await bucket.client.list_parts(Bucket=bucket.name, Key=key, UploadId=upload, PartNumberMarker=marker)
        for part in page.get("Parts", []):
            yield part
        if not page.get("IsTruncated"):
            return
        marker = page["NextPartNumberMarker"]
