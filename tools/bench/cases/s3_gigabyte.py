"""1 GiB through an S3 blob repository, in both directions: its memory; and 64 MiB against a bare client's loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydatatask_repos_s3 import S3BucketRepository

from ..harness import Case, Figures, Lap, Memory, compare
from ..s3 import BUCKET, client_of_a_server

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

__all__ = ["CASE"]

MIB = 1024 * 1024
LARGE = 1024
SMALL = 64
PART = 8
"""MiB in one part of the bare client's upload."""

CHUNK = bytes(range(256)) * 1024
"""A quarter of a MiB: what is written and read at a time."""


def chunks(mib: int) -> Iterator[bytes]:
    for _ in range(mib * MIB // len(CHUNK)):
        yield CHUNK


async def write(repo: S3BucketRepository, mib: int) -> None:
    async with await repo.open("value", "wb") as writer:
        for chunk in chunks(mib):
            await writer.write(chunk)


async def read(repo: S3BucketRepository, mib: int) -> None:
    size = 0
    async with await repo.open("value", "rb") as reader:
        while chunk := await reader.read(len(CHUNK)):
            size += len(chunk)
    assert size == mib * MIB


async def bare_write(client: S3Client, mib: int) -> None:
    upload = (await client.create_multipart_upload(Bucket=BUCKET, Key="bare"))["UploadId"]
    parts: list[CompletedPartTypeDef] = []
    part = bytearray()
    for chunk in chunks(mib):
        part += chunk
        if len(part) == PART * MIB:
            number = len(parts) + 1
            sent = await client.upload_part(
                Bucket=BUCKET, Key="bare", UploadId=upload, PartNumber=number, Body=bytes(part)
            )
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            part.clear()
    await client.complete_multipart_upload(Bucket=BUCKET, Key="bare", UploadId=upload, MultipartUpload={"Parts": parts})


async def bare_read(client: S3Client, mib: int) -> None:
    size = 0
    answer = await client.get_object(Bucket=BUCKET, Key="bare")
    async with answer["Body"] as body:
        while chunk := await body.read(len(CHUNK)):
            size += len(chunk)
    assert size == mib * MIB


async def measure() -> Figures:
    async with client_of_a_server() as client:
        repo = S3BucketRepository(lambda: client, BUCKET)
        # First, because memory that was used once and is free again would hide what these use.
        memory = Memory()
        await write(repo, LARGE)
        figures: dict[str, float | int | str] = {"written_and_read_mib": LARGE, "write_peak_mib": memory.peak_mib()}
        await read(repo, LARGE)
        figures["read_peak_mib"] = memory.peak_mib()

        async def writing(lap: Lap) -> None:
            with lap.timed():
                await write(repo, SMALL)

        async def bare_writing(lap: Lap) -> None:
            with lap.timed():
                await bare_write(client, SMALL)

        async def reading(lap: Lap) -> None:
            with lap.timed():
                await read(repo, SMALL)

        async def bare_reading(lap: Lap) -> None:
            with lap.timed():
                await bare_read(client, SMALL)

        for direction, ours, bare in (("write", writing, bare_writing), ("read", reading, bare_reading)):
            found = await compare(SMALL, ours, bare)
            figures |= {f"{direction}_mib_{name}": value for name, value in found.items() if name != "amount"}
    return figures


CASE = Case("s3-gigabyte", "within 64 MiB of memory above the start", measure)
