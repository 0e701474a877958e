"""What an observer of a running pipeline is told. Displays, logs and dashboards are observers and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import fields, frozen

from ..task.record import RunRecord

__all__ = [
    "AnswerFailed",
    "Event",
    "Finished",
    "LaunchFailed",
    "Launched",
    "Listed",
    "Observer",
    "Retrying",
    "RoundDone",
    "StoreBack",
    "StoreUnreachable",
    "Waiting",
    "as_data",
]


@frozen
class Launched:
    """A task was started on a job."""

    task: str
    job: str


@frozen
class Finished:
    """A run ended, well or not, and its record was published."""

    task: str
    job: str
    record: RunRecord


@frozen
class Retrying:
    """An attempt failed, and another one follows after ``delay`` seconds."""

    task: str
    job: str
    record: RunRecord
    delay: float


@frozen
class LaunchFailed:
    """A task could not be started on a job, or its run not be brought to an end; ``delay`` seconds until it is
    tried again, None if it is not.
    """

    task: str
    job: str
    error: Exception
    delay: float | None


@frozen
class Waiting:
    """A ready job waits for a quota: for cpu, mem, launches, or a job of higher priority."""

    task: str
    job: str
    lacking: str


@frozen
class AnswerFailed:
    """What decides whether a job is ready could not be read. The job waits until its key changes."""

    what: str
    job: str
    error: Exception


@frozen
class StoreUnreachable:
    """A store does not answer, and is asked again after ``delay`` seconds. Its keys are taken to be as they were."""

    location: str
    error: Exception
    delay: float


@frozen
class StoreBack:
    """A store that was unreachable answers again."""

    location: str


@frozen
class Listed:
    """A store was listed."""

    location: str
    jobs: int
    seconds: float


@frozen
class RoundDone:
    """Nothing is left to do now."""


Event = (
    Launched
    | Finished
    | Retrying
    | LaunchFailed
    | Waiting
    | AnswerFailed
    | StoreUnreachable
    | StoreBack
    | Listed
    | RoundDone
)


def as_data(event: Event) -> dict[str, Any]:
    """Give an event as plain data: ``event`` is its kind in snake case, errors are text."""
    data: dict[str, Any] = {"event": _KINDS[type(event)]}
    for attribute in fields(type(event)):
        value = getattr(event, attribute.name)
        if isinstance(value, RunRecord):
            data["record"] = value.data()
        else:
            data[attribute.name] = str(value) if isinstance(value, BaseException) else value
    return data


_KINDS: dict[type[object], str] = {
    Launched: "launched",
    Finished: "finished",
    Retrying: "retrying",
    LaunchFailed: "launch_failed",
    Waiting: "waiting",
    AnswerFailed: "answer_failed",
    StoreUnreachable: "store_unreachable",
    StoreBack: "store_back",
    Listed: "listed",
    RoundDone: "round_done",
}

Observer = Callable[[Event], None]
"""Called on the event loop for each event. Must not raise, and must not block."""
