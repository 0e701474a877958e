"""A service that cannot be had is a skip on a laptop, and a failure where ``CI=true``."""

from __future__ import annotations

import pytest
from pydatatask_core.testing.services import service_setting


def test_a_missing_service_is_a_skip_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("THE_SERVICE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"THE_SERVICE is not set\. Set it to its URL\."):
        service_setting("THE_SERVICE", "its URL")


def test_a_missing_service_fails_where_ci_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("THE_SERVICE", "")
    with pytest.raises(pytest.fail.Exception, match="CI=true demands every service: THE_SERVICE is not set"):
        service_setting("THE_SERVICE", "its URL")


def test_a_service_that_is_there_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("THE_SERVICE", "tcp://here")
    assert service_setting("THE_SERVICE", "its URL") == "tcp://here"
