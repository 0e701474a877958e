"""No test of the core may block the event loop."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings
from pydatatask_core.testing.blocking import may_block, no_blocking

__all__ = ["may_block", "no_blocking"]

# The modules beside the tests are no package, because the tests of all members are collected together.
sys.path.insert(0, str(Path(__file__).parent))

# How long an example takes says more about the machine than about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
