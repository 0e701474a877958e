"""Repositories in Docker registries."""

from .client import RegistryClient
from .repository import DockerRepository, ImageNames

__all__ = ["DockerRepository", "ImageNames", "RegistryClient"]
