"""Where a job is kept: which bucket, under which key, and the address that is given to others."""

from __future__ import annotations

import re

from attrs import frozen
from pydatatask_core.errors import ConfigurationError
from typing_extensions import override

__all__ = ["Address", "S3BucketInfo"]

_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[A-Za-z0-9._:-]+")


@frozen
class S3BucketInfo:
    """The address of one job's object. ``str()`` gives its ``uri``."""

    endpoint: str
    """The URL of the server."""
    uri: str
    """``s3://bucket/key``."""
    bucket: str
    prefix: str
    """What comes before the job in the key."""
    suffix: str
    """What comes after the job in the key."""

    @override
    def __str__(self) -> str:
        return self.uri


@frozen
class Address:
    """A bucket, and the keys in it that are jobs: a prefix, the job, a suffix."""

    bucket: str
    prefix: str
    suffix: str

    @classmethod
    def parse(cls, bucket: str, prefix: str, suffix: str) -> Address:
        """Take ``bucket`` as a bucket name that may be followed by ``/`` and the beginning of the prefix.

        :raises ConfigurationError: if there is no bucket name in it, or the suffix looks like a prefix.
        """
        name, _, path = bucket.partition("/")
        if _BUCKET.fullmatch(name) is None:
            raise ConfigurationError(
                f"{bucket!r} names no S3 bucket. Give the bucket's name, optionally followed by '/' and a key prefix: "
                "'books', 'lake/raw/'."
            )
        if suffix.endswith("/"):
            raise ConfigurationError(
                f"The suffix {suffix!r} of the repository in S3 bucket {name!r} ends in '/'. "
                f"If keys begin with it, write prefix={suffix!r}."
            )
        return cls(name, path + prefix, suffix)

    @override
    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}*{self.suffix}"

    @property
    def delimiter(self) -> str:
        """What ends a listing's keys: a folder under the prefix holds no jobs, so it is listed as one name."""
        return "" if "/" in self.suffix else "/"

    def key(self, job: str) -> str:
        """Give the key of a job."""
        return f"{self.prefix}{job}{self.suffix}"

    def name(self, key: str) -> str | None:
        """Give what stands between prefix and suffix, job id or not; None for a key without them."""
        if not key.startswith(self.prefix) or not key.endswith(self.suffix):
            return None
        return key[len(self.prefix) : len(key) - len(self.suffix)]
