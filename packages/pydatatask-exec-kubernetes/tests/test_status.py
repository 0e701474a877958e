"""What a pod's status means, where no cluster at hand can be brought to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydatatask_core.runs.site import Phase
from pydatatask_exec_kubernetes.status import gone, sighting_of
from scripted import pod


def failed(reason: str, **more: Any) -> dict[str, Any]:
    made = pod("job", 5)
    made["status"] = {"phase": "Failed", "reason": reason, "message": "in its words", **more}
    return made


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("Evicted", ("lost", "evicted")),
        ("Preempting", ("lost", "evicted")),
        ("NodeShutdown", ("lost", "evicted")),
        ("Terminated", ("lost", "evicted")),
        ("NodeLost", ("lost", "lost")),
        ("DeadlineExceeded", ("timeout", "timeout")),
        ("OutOfmemory", ("failure", "unschedulable")),
        ("NodeAffinity", ("failure", "unschedulable")),
        ("UnexpectedAdmissionError", ("failure", "unschedulable")),
        ("SomethingNew", ("failure", "exit")),
    ],
)
def test_the_reason_of_a_node_has_its_cause(reason: str, end: tuple[str, str]) -> None:
    seen = sighting_of(failed(reason), "app")

    assert seen is not None
    assert seen.phase is Phase.ENDED
    assert (seen.result, seen.cause) == end
    assert seen.reason == f"{reason}: in its words"
    assert seen.end_time is not None


def test_a_pod_that_had_ended_before_it_was_deleted_counts_as_it_ended() -> None:
    ended = pod("job", 5, "Succeeded")
    ended["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:31Z", "deletionGracePeriodSeconds": 30}
    interrupted = pod("job", 5, "Succeeded")
    interrupted["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}

    before, by_it = sighting_of(ended, "app"), sighting_of(interrupted, "app")

    assert before is not None
    assert by_it is not None
    assert (before.phase, before.result) == (Phase.ENDED, "success")
    assert by_it.phase is Phase.LEAVING
    assert gone(before) is before
    assert (gone(by_it).result, gone(by_it).cause) == ("lost", "lost")


def test_a_pod_that_is_called_failed_while_a_container_runs_has_not_said_how_it_ended() -> None:
    made = pod("job", 5)
    made["status"] |= {"phase": "Failed", "reason": "DeadlineExceeded"}

    seen = sighting_of(made, "app")

    assert seen is not None
    assert (seen.phase, seen.result) == (Phase.ENDED, None)


def test_pods_of_others_are_not_seen() -> None:
    assert sighting_of(pod("job", 5), "another") is None
    unlabelled = pod("job", 5)
    del unlabelled["metadata"]["labels"]
    assert sighting_of(unlabelled, "app") is None
    strange = pod("job", 5)
    strange["metadata"]["labels"]["pydatatask/attempt"] = "first"
    assert sighting_of(strange, "app") is None
