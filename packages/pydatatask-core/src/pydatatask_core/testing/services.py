"""Real services that tests talk to, and what happens where one cannot be had.

On a laptop the test is skipped, with the reason. Where ``CI=true`` it fails: a service that everybody skips is tested
by nobody.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["service_missing", "service_setting"]


def service_missing(reason: str) -> NoReturn:
    """End the running test because a service cannot be had: skipped, or failed where ``CI=true``."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI=true demands every service: {reason}", pytrace=False)
    pytest.skip(reason)


def service_setting(variable: str, what: str) -> str:
    """Give what an environment variable says of a service; ``what`` tells in the reason what it should be."""
    value = os.environ.get(variable, "")
    if not value:
        service_missing(f"{variable} is not set. Set it to {what}.")
    return value
