"""Readiness after any history is what the definitions say, and at any time what was told of it says."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from readiness_history import History, history_of, shrunk
from readiness_machine import play


def is_wrong(history: History) -> bool:
    try:
        play(history)
    except (AssertionError, LookupError, RuntimeError):
        return True
    return False


def check(seed: int) -> None:
    history = history_of(seed)
    if is_wrong(history):
        history = shrunk(history, is_wrong)
        print(history)
        play(history)


seeds = given(seed=st.integers(0, 2**64 - 1))
patiently = settings(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a smaller seed is no simpler history
    suppress_health_check=list(HealthCheck),
)


@settings(patiently, max_examples=100)
@seeds
def test_readiness_is_right_after_any_history(seed: int) -> None:
    check(seed)


@pytest.mark.campaign
@settings(patiently, max_examples=5_000)
@seeds
def test_readiness_is_right_after_any_of_very_many_histories(seed: int) -> None:
    check(seed)
