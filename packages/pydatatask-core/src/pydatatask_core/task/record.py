"""The done record: what is kept of a run that ended, the same for every kind of task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import define, field, frozen

__all__ = ["Cause", "NextAttempt", "Result", "RunRecord", "has_succeeded"]

Result = Literal["success", "failure", "timeout", "cancelled", "lost"]
"""How a run ended."""

Cause = Literal["exception", "exit", "timeout", "oom", "evicted", "lost", "unschedulable", "cancelled"]
"""Why a run did not succeed."""


# Not frozen: one is made per run, and a frozen one takes three times as long to make.
@define(kw_only=True)
class RunRecord:
    """One run that ended. Times are aware, UTC."""

    result: Result
    cause: Cause | None = None
    return_code: int | None = None
    return_codes: Mapping[str, int] | None = None
    """Those of all programs of the run, by name, where it has several."""
    reason: str | None = None
    """What the site said of the end, in its own words."""
    exception: str | None = None
    traceback: str | None = None
    attempt: int = 1
    attempts: Sequence[Mapping[str, Any]] = field(default=())
    """The records of earlier attempts, oldest first."""
    start_time: datetime
    end_time: datetime
    host: str | None = None
    node: str | None = None
    image: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the run succeeded."""
        return self.result == "success"

    def data(self) -> dict[str, Any]:
        """Give the record as it is stored: what does not apply is left out."""
        # In this order people read it. It is made for every run, so the usual fields are given without a look-up.
        data: dict[str, Any] = {"result": self.result}
        if self.result != "success" or self.return_code is not None or self.reason is not None:
            data.update(self._present("cause", "return_code", "return_codes", "reason", "exception", "traceback"))
        data["attempt"] = self.attempt
        if self.attempts:
            data["attempts"] = [dict(earlier) for earlier in self.attempts]
        data["start_time"] = self.start_time
        data["end_time"] = self.end_time
        if self.host is not None:
            data["host"] = self.host
        if self.node is not None or self.image is not None:
            data.update(self._present("node", "image"))
        return data

    def _present(self, *names: str) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@frozen
class NextAttempt:
    """An attempt that is to follow a failed one."""

    due: datetime
    failed: int
    """The number of the attempt that failed."""
    cause: str
    error: str | None

    @classmethod
    def after(cls, attempts: Any) -> NextAttempt | None:
        """Read it from the stored attempts of a job; None if they do not say when it is due."""
        last = attempts[-1] if isinstance(attempts, Sequence) and attempts else None
        if not isinstance(last, Mapping) or not isinstance(last.get(DUE), datetime):
            return None
        error = last.get("exception")
        return cls(last[DUE], len(attempts), str(last.get("cause")), None if error is None else str(error))


DUE = "next_attempt"
"""The field of a stored attempt that says when the next one is due."""


def has_succeeded(data: Any) -> bool:
    """Tell from a stored done record whether the run succeeded.

    Records of earlier releases have no ``result`` of ours; they count by ``exception``, ``return_code`` and
    ``reason``. A value that is no record at all counts as success: the key is there.
    """
    if not isinstance(data, Mapping):
        return True
    result = data.get("result")
    if result in {"success", "failure", "timeout", "cancelled", "lost"}:
        return bool(result == "success")
    if "exception" in data or result == "exception":
        return False
    if data.get("timeout") is True:
        return False
    if data.get("return_code") is not None:
        return bool(data["return_code"] == 0)
    if data.get("reason") is not None:
        return data["reason"] in {"Succeeded", "Completed"}
    return True
