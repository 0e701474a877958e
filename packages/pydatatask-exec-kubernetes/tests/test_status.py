"""What a pod's status means, where no cluster at hand can be brought to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydatatask_core.runs.site import Phase
from pydatatask_exec_kubernetes.status import containers_of, gone, is_stuck, sighting_of
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
    copied = pod("job", 5)
    copied["metadata"]["name"] += "-debug"
    assert sighting_of(copied, "app") is None


def ended(code: int, began: int, seconds: int, **more: str) -> dict[str, Any]:
    def moment(second: int) -> str:
        return f"2026-01-01T00:00:{second:02}Z"

    return {"terminated": {"exitCode": code, "startedAt": moment(began), "finishedAt": moment(began + seconds), **more}}


def in_turn(phase: str, first: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    """A pod with a container that runs before the others."""
    made = pod("job", 5)
    made["spec"] |= {"initContainers": [{"name": "first", "image": "image"}], "nodeName": "node"}
    made["spec"]["containers"] = [{"name": name, "image": "image"} for name in others]
    made["status"] = {
        "phase": phase,
        "initContainerStatuses": [{"name": "first", "state": first}],
        "containerStatuses": [{"name": name, "state": state} for name, state in others.items()],
    }
    return made


def test_a_run_lasts_from_its_first_container_to_its_last() -> None:
    made = in_turn("Succeeded", ended(0, 1, 2), quick=ended(0, 4, 1), slow=ended(0, 5, 20))

    seen = sighting_of(made, "app")

    assert seen is not None
    assert seen.start_time == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert seen.end_time == datetime(2026, 1, 1, 0, 0, 25, tzinfo=UTC)
    assert seen.return_codes == {"first": 0, "quick": 0, "slow": 0}
    assert containers_of(made) == ["first", "quick", "slow"]


def test_the_first_container_that_failed_tells_the_code_and_one_that_took_too_much_memory_the_cause() -> None:
    failed_first = in_turn("Failed", ended(4, 1, 2, message="no input"), main=ended(5, 4, 1))
    killed = in_turn("Failed", ended(0, 1, 2), main=ended(1, 4, 1), side=ended(137, 4, 2, reason="OOMKilled"))

    first, oom = sighting_of(failed_first, "app"), sighting_of(killed, "app")

    assert first is not None
    assert (first.cause, first.return_code, first.reason) == ("exit", 4, "no input")
    assert oom is not None
    assert (oom.cause, oom.return_code, oom.reason) == ("oom", 1, "OOMKilled")


def test_a_pod_that_has_not_begun_tells_what_keeps_it_and_nothing_else() -> None:
    begins: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}
    pulls: dict[str, Any] = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    usual = in_turn("Pending", {"running": {"startedAt": "2026-01-01T00:00:01Z"}}, main=begins)
    usual["status"]["conditions"] = [{"type": "PodScheduled", "status": "True", "reason": "Fine"}]
    stuck = in_turn("Pending", pulls, main=begins)

    beginning, waiting = sighting_of(usual, "app"), sighting_of(stuck, "app")

    assert beginning is not None
    assert (beginning.phase, beginning.reason) == (Phase.CLAIMED, None)
    assert not is_stuck(beginning)
    assert waiting is not None
    assert (waiting.phase, waiting.reason) == (Phase.CLAIMED, "ErrImagePull: no such image")
    assert is_stuck(waiting)
