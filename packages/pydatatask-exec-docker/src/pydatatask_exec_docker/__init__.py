"""Containers of a Docker engine."""

from .manager import DockerManager
from .task import ContainerTask

__all__ = ["ContainerTask", "DockerManager"]
