"""Repositories in S3 and compatible stores."""

from .address import S3BucketInfo
from .metadata import JsonMetadataS3Repository, YamlMetadataS3Repository
from .repository import S3BucketRepository

__all__ = ["JsonMetadataS3Repository", "S3BucketInfo", "S3BucketRepository", "YamlMetadataS3Repository"]
