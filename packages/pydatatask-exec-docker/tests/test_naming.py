"""Names and labels of containers tell runs apart, and ours from all others."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from pydatatask_core.runs.site import RunName
from pydatatask_exec_docker.naming import container_name, labels, run_of, staging_name, wanted

APPS_AND_RUNS = [
    ("app", RunName("task", "job", 1)),
    ("app", RunName("task", "job", 2)),
    ("app", RunName("task", "Job", 1)),
    ("app", RunName("task", "j.ob", 1)),
    ("app", RunName("task", "j-ob", 1)),
    ("app", RunName("Task", "job", 1)),
    ("App", RunName("task", "job", 1)),
    ("app-task", RunName("x", "job", 1)),
    ("app", RunName("task-x", "job", 1)),
    ("a" * 63, RunName("b" * 63, "c" * 63, 100)),
    ("a" * 63, RunName("b" * 63, "c" * 62 + "d", 100)),
]


def test_two_runs_have_two_names() -> None:
    for (app, run), (other_app, other_run) in combinations(APPS_AND_RUNS, 2):
        assert container_name(app, run) != container_name(other_app, other_run)


@pytest.mark.parametrize(("app", "run"), APPS_AND_RUNS)
def test_a_name_is_one_that_engines_and_their_networks_take(app: str, run: RunName) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", container_name(app, run))


@pytest.mark.parametrize(("app", "run"), APPS_AND_RUNS)
def test_a_run_is_read_from_its_labels(app: str, run: RunName) -> None:
    assert run_of(labels(app, run, "me"), container_name(app, run), app) == run


def test_what_is_no_claim_of_the_app_is_no_run() -> None:
    run = RunName("task", "job", 1)
    told, name = labels("app", run, "me"), container_name("app", run)

    assert run_of(told, staging_name(), "app") is None
    assert run_of(told, container_name("app", run._replace(attempt=2)), "app") is None
    assert run_of(told, container_name("other", run), "other") is None
    assert run_of({**told, "pydatatask.attempt": "first"}, name, "app") is None
    for label in told.keys() - {"pydatatask.owner"}:
        assert run_of({key: value for key, value in told.items() if key != label}, name, "app") is None


def test_what_is_asked_for_is_of_the_app_the_task_and_the_job() -> None:
    assert wanted("app") == ["pydatatask.app=app"]
    assert wanted("app", "task") == ["pydatatask.app=app", "pydatatask.task=task"]
    assert wanted("app", "task", "job") == ["pydatatask.app=app", "pydatatask.task=task", "pydatatask.job=job"]
