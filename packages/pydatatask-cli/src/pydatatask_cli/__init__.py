"""The pydatatask command."""

from .app import main

__all__ = ["main"]
