"""What an engine's account of a container says of its run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from pydatatask_core.clock import now
from pydatatask_core.runs.site import Cancellation, Phase, RunName, Sighting
from pydatatask_core.task.record import Cause, Result

from .engine import Event, Inspected
from .naming import LABELS, OWNER

__all__ = [
    "KILLED",
    "LOST",
    "claimed",
    "has_failed_to_start",
    "is_in_doubt",
    "lost",
    "names_of",
    "of_event",
    "of_inspected",
    "run_of_event",
    "run_of_listed",
]

_PHASES = {
    "created": Phase.CLAIMED,
    "running": Phase.RUNNING,
    "paused": Phase.RUNNING,
    "restarting": Phase.RUNNING,
    "removing": Phase.LEAVING,
    "exited": Phase.ENDED,
    "dead": Phase.ENDED,
}

_CANCELLATIONS: Mapping[str, Cancellation] = {"cancelled": "cancelled", "dropped": "dropped"}

KILLED = "killed"
LOST = "lost"

_ENDS: Mapping[str, tuple[Result, Cause, str | None]] = {
    "cancelled": ("cancelled", "cancelled", None),
    "dropped": ("cancelled", "cancelled", None),
    "timeout": ("timeout", "timeout", None),
    "stopped": ("lost", "evicted", "somebody stopped the container, or the engine"),
    KILLED: ("lost", "lost", "the container was killed, by somebody or with its engine"),
    LOST: ("lost", "lost", "the engine ended while it started the container"),
}
"""What the words mean by which it is said why a container was ended."""

_IN_DOUBT = ("already exists", "id already in use")
_PASSING = (": unavailable", "connection error: desc", "context canceled", "deadline exceeded", "ttrpc: closed")
"""Signs that the engine has lost its own helpers for a while, and not that something is wrong with a container."""


def claimed(run: RunName, owner: str, container: str, image: str, host: str) -> Sighting:
    """Tell of a container that was just made."""
    return Sighting(
        run=run,
        owner=owner,
        claim=container,
        phase=Phase.CLAIMED,
        host=host,
        image=image,
        identity={"id": container},
    )


def run_of_event(event: Event, app: str) -> RunName | None:
    """Give the run that an event is about; None if it is about no claim of the app's."""
    told = event["Actor"]["Attributes"]
    return LABELS.run(told, str(told.get("name", "")).lstrip("/"), app)


def names_of(listed: Mapping[str, Any]) -> list[str]:
    """Give the names in a short account of a container."""
    return [str(name).lstrip("/") for name in listed.get("Names") or ()]


def run_of_listed(listed: Mapping[str, Any], app: str) -> RunName | None:
    """Give the run that a short account is about; None if it is about no claim of the app's."""
    runs = (LABELS.run(listed.get("Labels") or {}, name, app) for name in names_of(listed))
    return next((run for run in runs if run is not None), None)


def of_event(event: Event, run: RunName, host: str) -> Sighting:
    """Read an event that says that a container was made, or that it begins."""
    told = event["Actor"]["Attributes"]
    seen = claimed(run, str(told.get(OWNER, "")), event["Actor"]["ID"], str(told.get("image", "")), host)
    if event["Action"] != "start":
        return seen
    return evolve(seen, phase=Phase.RUNNING, start_time=datetime.fromtimestamp(event["timeNano"] / 1e9, UTC))


def of_inspected(
    found: Inspected, app: str, host: str, image: str, mark: str | None, obstacle: str | None, code: int | None
) -> Sighting | None:
    """Read the engine's account of a container; None if it is no claim of the app's.

    :param image: what it was made of, for people.
    :param mark: the word that says why it was ended, if it was.
    :param obstacle: why its script did not begin, if it did not.
    :param code: the status of its script, if it was asked for and is there. The engine's may be made up.
    """
    config, state = found["Config"], found["State"]
    told = config.get("Labels") or {}
    run = LABELS.run(told, str(found["Name"]).lstrip("/"), app)
    if run is None:
        return None
    seen = evolve(
        claimed(run, str(told.get(OWNER, "")), found["Id"], image, host),
        phase=_PHASES.get(state["Status"], Phase.RUNNING),
        start_time=_time(state.get("StartedAt")),
    )
    if has_failed_to_start(found):
        return _not_started(found, seen, mark)
    if seen.phase is Phase.CLAIMED:
        # What is told of one that was just made.
        return evolve(seen, image=config["Image"])
    if seen.phase is not Phase.ENDED:
        return seen
    over = _time(state.get("FinishedAt")) or now()
    # An engine writes down a start when it has heard of it, which may be after a short run has ended.
    began = None if seen.start_time is None else min(seen.start_time, over)
    seen = evolve(seen, return_code=int(state["ExitCode"]) if code is None else code, start_time=began, end_time=over)
    ended = _ended(seen, mark)
    if ended is not None:
        return ended
    if seen.return_code == 0:
        return evolve(seen, result="success")
    if obstacle:
        return evolve(seen, result="failure", cause="unschedulable", reason=obstacle)
    if state.get("OOMKilled"):
        return evolve(seen, result="failure", cause="oom", reason="OOMKilled")
    return evolve(seen, result="failure", cause="exit", reason=" ".join(str(state.get("Error") or "").split()) or None)


def _not_started(found: Inspected, seen: Sighting, mark: str | None) -> Sighting:
    """Tell of a container that the engine could not start."""
    reason = " ".join(str(found["State"]["Error"]).split())
    failed = evolve(seen, phase=Phase.ENDED, end_time=now())
    if (ended := _ended(failed, mark)) is not None:
        return ended
    if is_in_doubt(found) or any(sign in reason for sign in _PASSING):
        # It can be started again.
        return evolve(seen, image=found["Config"]["Image"], reason=reason)
    return evolve(failed, result="failure", cause="unschedulable", reason=reason)


def _ended(seen: Sighting, mark: str | None) -> Sighting | None:
    """Tell of a container that was ended; None if it ended by itself."""
    if mark is None or mark not in _ENDS:
        return None
    result, cause, reason = _ENDS[mark]
    return evolve(seen, result=result, cause=cause, reason=reason, cancellation=_CANCELLATIONS.get(mark))


def has_failed_to_start(found: Inspected) -> bool:
    """Tell whether the engine tried to start a container, and could not."""
    state = found["State"]
    return state["Status"] == "created" and bool(state.get("Error"))


def is_in_doubt(found: Inspected) -> bool:
    """Tell whether the engine could not start a container because of what it began when it was killed.

    So it may run, and the engine does not know of it.
    """
    return has_failed_to_start(found) and any(sign in str(found["State"]["Error"]) for sign in _IN_DOUBT)


def lost(last: Sighting) -> Sighting:
    """Tell what it means that a container, last seen like this, does not exist any more."""
    if last.phase is Phase.ENDED and last.result is not None:
        return last
    reason = "the container was removed by somebody else"
    return evolve(last, phase=Phase.ENDED, result="lost", cause="lost", reason=reason, end_time=now())


def _time(text: str | None) -> datetime | None:
    """Read a time. The engine's word for never is the year 1."""
    return None if not text or text.startswith("0001") else datetime.fromisoformat(text)
