"""What is written on pods."""

from __future__ import annotations

from pydatatask_core.runs.naming import RunLabels

__all__ = ["END", "LABELS", "OWNER", "WHY"]

LABELS = RunLabels("pydatatask/")
"""They are prefixed as Kubernetes wants it."""

OWNER = "pydatatask/owner"
END = "pydatatask/end"
WHY = "pydatatask/why"
"""Annotations: the pipeline's fingerprint; why we end the pod, in one word of ours; and in words for people."""
