"""What a pod's status says of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from attrs import evolve
from pydatatask_core.clock import now
from pydatatask_core.runs.site import Cancellation, Phase, Sighting
from pydatatask_core.task.record import Cause, Result

from ._client import Pod
from .naming import END, LABELS, OWNER, WHY

__all__ = ["STUCK", "Ending", "containers_of", "gone", "is_stuck", "judged", "running_in", "sighting_of"]

Ending = Literal["cancelled", "dropped", "timeout", "unschedulable"]
"""Why we end a pod."""

STUCK = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Why a container waits that will most likely never begin. A registry may come back, or a missing secret be made."""

_ENDS: Mapping[str, tuple[Result, Cause]] = {
    "cancelled": ("cancelled", "cancelled"),
    "dropped": ("cancelled", "cancelled"),
    "timeout": ("timeout", "timeout"),
    "unschedulable": ("failure", "unschedulable"),
    "DeadlineExceeded": ("timeout", "timeout"),
    "NodeLost": ("lost", "lost"),
    **dict.fromkeys(
        ("Evicted", "Preempting", "Preempted", "Shutdown", "NodeShutdown", "Terminated"), ("lost", "evicted")
    ),
    **dict.fromkeys(
        ("EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "TerminationByKubelet"),
        ("lost", "evicted"),
    ),
    "DeletionByPodGC": ("lost", "lost"),
    **dict.fromkeys(
        ("NodeAffinity", "UnexpectedAdmissionError", "NodeSelectorMismatching"), ("failure", "unschedulable")
    ),
}
"""What our words, those of a kubelet, and those of a cluster that disrupts a pod mean. ``OutOfcpu`` and the like come
besides."""

_CANCELLATIONS: Mapping[str, Cancellation] = {"cancelled": "cancelled", "dropped": "dropped"}

LONG = 500
"""Characters of an explanation that are told."""


def sighting_of(pod: Pod, app: str) -> Sighting | None:
    """Read a pod; None if it is not a run of the app."""
    metadata, status, spec = pod["metadata"], pod.get("status", {}), pod.get("spec", {})
    run = LABELS.run(metadata.get("labels") or {}, metadata["name"], app)
    if run is None:
        return None
    notes = metadata.get("annotations") or {}
    ending, why = _ending(pod)
    seen = Sighting(
        run=run,
        owner=str(notes.get(OWNER, "")),
        claim=metadata["uid"],
        phase=_phase(pod),
        reason=_obstacle(pod),
        start_time=_began(pod),
        node=spec.get("nodeName"),
        image=", ".join(dict.fromkeys(container.get("image", "") for container in spec.get("containers", ()))),
        cancellation=_cancellation(ending),
        identity={"name": metadata["name"], "uid": metadata["uid"], "ending": ending},
    )
    if seen.phase is Phase.ENDED:
        # A pod whose time is up is called failed while its containers still have their time to end.
        return evolve(seen, reason=None) if running_in(pod) else judged(seen, pod)
    if seen.phase is Phase.LEAVING:
        told = why or status.get("reason")
        return evolve(seen, reason=f"the pod is being deleted{f' ({told})' if told else ''}")
    return seen


def gone(last: Sighting) -> Sighting:
    """Tell what it means that a pod, last seen like this, does not exist any more."""
    if last.phase is Phase.ENDED and last.result is not None:
        return last
    ending = last.identity.get("ending")
    if ending:
        result, cause = _ENDS[ending]
        reason = None if last.cancellation else last.reason
    else:
        result, cause, reason = "lost", "lost", "the pod was deleted by somebody else, or with its node"
    return evolve(last, phase=Phase.ENDED, result=result, cause=cause, reason=reason, end_time=now())


def is_stuck(sighting: Sighting) -> bool:
    """Tell whether a run has a container that will most likely never begin."""
    return (sighting.reason or "").partition(":")[0] in STUCK


def containers_of(pod: Pod) -> list[str]:
    """Give the names of a pod's containers, in the order in which they begin and are written."""
    spec = pod.get("spec", {})
    return [found["name"] for kind in ("initContainers", "containers") for found in spec.get(kind) or ()]


def running_in(pod: Pod) -> list[str]:
    """Give the names of the containers that run, by what the node told last."""
    return [name for name, state in _states(pod) if "running" in state]


def _phase(pod: Pod) -> Phase:
    status = pod.get("status", {})
    deleted = pod["metadata"].get("deletionTimestamp")
    phase = status.get("phase")
    over = phase in {"Succeeded", "Failed"}
    if deleted is not None:
        grace = timedelta(seconds=pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        asked = _time(deleted) - grace
        ended = _ended(pod)
        return Phase.ENDED if over and ended is not None and ended <= asked else Phase.LEAVING
    if over:
        return Phase.ENDED
    return Phase.RUNNING if phase != "Pending" else Phase.CLAIMED


def _obstacle(pod: Pod) -> str | None:
    """Say what keeps a pod from beginning, a kubelet's or the scheduler's word first."""
    for _, state in _states(pod):
        waiting = state.get("waiting")
        if waiting and waiting.get("reason") not in {None, "PodInitializing"}:
            return _words(waiting["reason"], waiting.get("message"))
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _words(condition.get("reason"), condition.get("message"))
    return None


def judged(seen: Sighting, pod: Pod) -> Sighting:
    """Tell how a run ended whose pod has."""
    status = pod.get("status", {})
    ending, why = _ending(pod)
    ends = {name: state["terminated"] for name, state in _states(pod) if "terminated" in state}
    codes = {name: int(end.get("exitCode", 0)) for name, end in ends.items()}
    failed = next((name for name, code in codes.items() if code), None)
    code = codes[failed] if failed is not None else (0 if codes else None)
    told = status.get("reason")
    result: Result
    cause: Cause | None
    reason: str | None
    if status.get("phase") == "Succeeded":
        result, cause, reason = "success", None, "Completed"
    elif ending is not None:
        result, cause = _ENDS[ending]
        reason = why or _words(told, status.get("message"))
    elif told in _ENDS or str(told).startswith("OutOf"):
        result, cause = _ENDS.get(str(told), ("failure", "unschedulable"))
        reason = _words(told, status.get("message"))
    else:
        end = ends.get(failed or "", {})
        killed = any(found.get("reason") == "OOMKilled" for found in ends.values())
        result, cause = "failure", "oom" if killed else "exit"
        reason = (
            "OOMKilled" if killed else _words(end.get("reason") or told, end.get("message") or status.get("message"))
        )
    return evolve(
        seen,
        result=result,
        cause=cause,
        reason=reason,
        return_code=code,
        return_codes=codes if len(containers_of(pod)) > 1 else None,
        end_time=_ended(pod) or now(),
    )


def _ending(pod: Pod) -> tuple[str | None, str | None]:
    """Give why somebody ends a pod, in one word and in words for people: what we wrote on it, or what a cluster did."""
    notes = pod["metadata"].get("annotations") or {}
    if notes.get(END) in _ENDS:
        return notes[END], notes.get(WHY)
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = condition.get("reason")
            return reason if reason in _ENDS else None, _words(reason, condition.get("message"))
    return None, None


def _states(pod: Pod) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each container's name and state, in their order."""
    status = pod.get("status", {})
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            yield container["name"], container.get("state") or {}


def _began(pod: Pod) -> datetime | None:
    """Tell when the first container began; None if none has."""
    times = [
        _time(told["startedAt"])
        for _, state in _states(pod)
        for told in (state.get("running"), state.get("terminated"))
        if told and told.get("startedAt")
    ]
    return min(times, default=None)


def _ended(pod: Pod) -> datetime | None:
    """Tell when the last container ended; None if nobody knows."""
    ends = [state["terminated"] for _, state in _states(pod) if "terminated" in state]
    return max((_time(end["finishedAt"]) for end in ends if end.get("finishedAt")), default=None)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _cancellation(ending: str | None) -> Cancellation | None:
    return _CANCELLATIONS.get(ending or "")


def _words(reason: str | None, message: str | None) -> str | None:
    words = ": ".join(word.strip() for word in (reason, message) if word)
    return (words if len(words) <= LONG else f"{words[: LONG - 3]}...") or None
