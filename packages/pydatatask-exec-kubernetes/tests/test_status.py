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


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("EvictionByEvictionAPI", ("lost", "evicted")),
        ("PreemptionByScheduler", ("lost", "evicted")),
        ("DeletionByTaintManager", ("lost", "evicted")),
        ("DeletionByPodGC", ("lost", "lost")),
        ("SomethingNew", ("lost", "lost")),
    ],
)
def test_a_pod_that_is_deleted_counts_by_what_the_cluster_says_that_it_does_to_it(
    reason: str, end: tuple[str, str]
) -> None:
    disrupted = pod("job", 5)
    disrupted["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
    told = {"type": "DisruptionTarget", "reason": reason, "message": "in its words"}
    disrupted["status"]["conditions"] = [{**told, "status": "True"}]
    withdrawn = pod("job", 5)
    withdrawn["metadata"] |= disrupted["metadata"]
    withdrawn["status"]["conditions"] = [{**told, "status": "False"}]

    seen, not_disrupted = sighting_of(disrupted, "app"), sighting_of(withdrawn, "app")

    assert seen is not None
    assert not_disrupted is not None
    assert seen.phase is Phase.LEAVING
    assert seen.reason == f"the pod is being deleted ({reason}: in its words)"
    assert (gone(seen).result, gone(seen).cause) == end
    assert gone(not_disrupted).cause == "lost"


def test_a_pod_that_failed_while_its_cluster_took_it_away_has_not_failed_by_itself() -> None:
    disrupted = pod("job", 5)
    terminated = {"exitCode": 143, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z"}
    disrupted["status"] = {
        "phase": "Failed",
        "containerStatuses": [{"name": "main", "state": {"terminated": terminated}}],
        "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
    }

    seen = sighting_of(disrupted, "app")

    assert seen is not None
    assert (seen.result, seen.cause, seen.return_code) == ("lost", "evicted", 143)
    assert seen.reason == "TerminationByKubelet"


def test_what_others_write_on_a_pod_ends_nothing() -> None:
    strange = pod("job", 5)
    strange["metadata"] |= {"annotations": {"pydatatask/end": "nonsense"}, "deletionTimestamp": "2026-01-01T00:00:30Z"}

    seen = sighting_of(strange, "app")

    assert seen is not None
    assert (gone(seen).result, gone(seen).cause) == ("lost", "lost")


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
