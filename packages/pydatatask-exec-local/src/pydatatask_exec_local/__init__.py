"""Processes on this machine."""

from .manager import LocalLinuxManager

__all__ = ["LocalLinuxManager"]
