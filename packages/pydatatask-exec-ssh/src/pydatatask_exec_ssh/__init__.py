"""Processes on a machine over SSH."""

from .manager import SSHLinuxManager

__all__ = ["SSHLinuxManager"]
