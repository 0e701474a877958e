"""Repositories in MongoDB."""

from .repository import MongoMetadataRepository

__all__ = ["MongoMetadataRepository"]
