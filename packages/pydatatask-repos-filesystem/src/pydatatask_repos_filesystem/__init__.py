"""File and directory repositories for pydatatask."""

from .directories import DirectoryRepository
from .files import FileRepository
from .metadata import JsonMetadataFileRepository, YamlMetadataFileRepository

__all__ = [
    "DirectoryRepository",
    "FileRepository",
    "JsonMetadataFileRepository",
    "YamlMetadataFileRepository",
]
