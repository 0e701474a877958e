"""No test of the core may block the event loop."""

from __future__ import annotations

from pydatatask_core.testing.blocking import may_block, no_blocking

__all__ = ["may_block", "no_blocking"]
