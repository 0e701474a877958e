"""How it looks what a controller says of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydatatask_core.clock import now
from pydatatask_core.pipeline.lock import Holder
from pydatatask_core.pipeline.standing import Crowd, Standing

from .asking import Asked
from .progress import duration, first_line

__all__ = ["crowd_lines", "headline", "moment", "since", "source_line", "standing_line", "summary_line"]

DAY = 86400.0

_HEADLINES = {
    "live": "running",
    "retry": "waits for a retry",
    "quota": "waits for a quota",
    "set aside": "set aside",
    "queued": "waits for its turn",
    "starting": "about to start",
    "undecided": "cannot be decided",
    "held": "not started now",
}


def headline(standing: Standing) -> str:
    """Say in a few words how a job stands."""
    return _HEADLINES.get(standing.kind, standing.kind)


def standing_line(standing: Standing) -> str:
    """Say how a job stands, and what would change that."""
    if standing.kind == "live":
        attempt = "" if standing.attempt is None else f", attempt {standing.attempt}"
        if standing.error:
            return f"claimed{since(standing.since)}{attempt}, and cannot begin yet: {standing.error}"
        return f"running{since(standing.since)}{attempt}"
    if standing.kind == "retry":
        failed = "it could not be run" if standing.attempt is None else f"attempt {standing.attempt} failed"
        return f"{failed}{_cause(standing)}; the next attempt is due {_due(standing.due)}"
    if standing.kind == "quota":
        used = f"it needs {standing.needs}, and {standing.in_use} of {standing.quota} are in use"
        return f"waits for {standing.lacking}: {used} (wait until others end, or raise the quota)"
    if standing.kind == "queued":
        return f"waits for its turn: {standing.most} jobs are live, the most at a time (max_concurrent)"
    if standing.kind == "set aside":
        return f"not tried again before the next run: {standing.error}"
    return f"{headline(standing)}: {standing.error}" if standing.error else headline(standing)


def crowd_lines(crowds: tuple[Crowd, ...]) -> Iterator[str]:
    """Say how many jobs stand how."""
    for crowd in crowds:
        yield f"{crowd.jobs:,} {'job' if crowd.jobs == 1 else 'jobs'}: {_crowd(crowd)}"
        if crowd.examples:
            more = ", ..." if crowd.jobs > len(crowd.examples) else ""
            yield f"  for example {', '.join(crowd.examples)}{more}"


def _crowd(crowd: Crowd) -> str:
    standing = crowd.standing
    if standing.kind == "live":
        attempt = "" if standing.attempt in {None, 1} else f", attempt {standing.attempt}"
        if standing.error:
            return f"claimed{attempt}, the first{since(standing.since)}, and cannot begin yet: {standing.error}"
        return f"running{attempt}, the first{since(standing.since)}"
    if standing.kind == "retry":
        failed = "could not be run" if standing.attempt is None else f"attempt {standing.attempt} failed"
        return f"{failed}{_cause(standing)}; the first retry is due {_due(standing.due)}"
    if standing.kind == "quota":
        each = f"each needs {standing.needs}, and {standing.in_use} of {standing.quota} are in use"
        return f"waiting for {standing.lacking}: {each}"
    if standing.kind == "queued":
        return f"waiting for their turn: {standing.most} jobs are live, the most at a time (max_concurrent)"
    return standing_line(standing)


def summary_line(task: str, crowds: tuple[Crowd, ...]) -> str:
    """Say in one line how a task's jobs stand."""
    return f"{task}: {', '.join(f'{crowd.jobs:,} {_in_short(crowd.standing)}' for crowd in crowds)}"


def _in_short(standing: Standing) -> str:
    if standing.kind == "quota":
        return f"waiting for {standing.lacking}"
    if standing.kind == "retry":
        return f"waiting for a retry ({standing.cause}), the first due {_due(standing.due)}"
    if standing.kind == "live" and standing.error:
        return f"that cannot begin yet ({standing.error})"
    return headline(standing)


def source_line(asked: Asked) -> str:
    """Say who runs the pipeline, and why it told nothing if that is so."""
    if asked.holder is None:
        return "No controller runs." if asked.silence is None else f"The controller cannot be asked: {asked.silence}."
    who = f"Process {asked.holder.pid} on {asked.holder.host} runs the pipeline{_of(asked.holder)}"
    if asked.told is None:
        return f"{who}, and says nothing of its jobs: {asked.silence}."
    return f"{who}{', and is about to stop' if asked.told.stopping else ''}."


def moment(when: datetime) -> str:
    """Say a moment as people read it."""
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def since(iso: str | None) -> str:
    """Say since when something is so, if that is known."""
    if iso is None:
        return ""
    when = datetime.fromisoformat(iso)
    passed = max((now() - when).total_seconds(), 0.0)
    ago = duration(passed) if passed < 2 * DAY else f"{passed // DAY:,.0f} days"
    return f" since {moment(when)} ({ago})"


def _of(holder: Holder) -> str:
    return since(holder.since)


def _due(iso: str | None) -> str:
    if iso is None:
        return "at some time"
    when = datetime.fromisoformat(iso)
    left = (when - now()).total_seconds()
    return f"in {duration(left)} ({moment(when)})" if left > 0 else "now"


def _cause(standing: Standing) -> str:
    told = ": ".join(part for part in (standing.cause, standing.error and first_line(standing.error)) if part)
    return f" ({told})" if told else ""
