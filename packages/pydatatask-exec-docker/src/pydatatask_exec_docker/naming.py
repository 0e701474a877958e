"""What containers are called, and what is written on them."""

from __future__ import annotations

import secrets

from pydatatask_core.runs.naming import RunLabels

__all__ = ["LABELS", "OWNER", "is_staged", "staging_name"]

LABELS = RunLabels("pydatatask.")
OWNER = "pydatatask.owner"
"""The label that holds the pipeline's fingerprint."""

STAGED = "pydatatask-new-"
"""How the names of containers begin that are not claims yet."""


def staging_name() -> str:
    """Give a name for a container that is to be renamed when it is whole."""
    return f"{STAGED}{secrets.token_hex(8)}"


def is_staged(name: str) -> bool:
    """Tell whether a container is not a claim yet."""
    return name.startswith(STAGED)
