"""Names and labels tell runs apart, and ours from all others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies as st
from pydatatask_core.runs.naming import RunLabels, dns_name
from pydatatask_core.runs.site import RunName

LABELS = RunLabels("prefix/")
RUN = RunName("task", "job", 1)

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", fullmatch=True)
jobs = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
runs = st.builds(RunName, names, jobs, st.integers(1, 9999))


@given(names, runs)
def test_a_name_is_a_name_of_a_host(app: str, run: RunName) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", dns_name(app, run))


def test_the_longest_names_make_a_name_of_63_characters() -> None:
    name = dns_name(63 * "A", RunName(63 * "t", 63 * "j", 9999))

    assert len(name) == 63
    assert name.startswith("aaa")
    assert name.endswith("-9999")


@given(st.tuples(names, runs), st.tuples(names, runs))
def test_two_runs_have_two_names(one: tuple[str, RunName], other: tuple[str, RunName]) -> None:
    assert (dns_name(*one) == dns_name(*other)) == (one == other)


def test_what_looks_alike_has_two_names() -> None:
    alike = [("app", "a_b", "job"), ("app", "a-b", "job"), ("app", "a", "b-job"), ("app-a", "b", "job")]
    alike += [("app", "a-b", "JOB"), ("app", "a-b", "j.ob"), ("App", "a-b", "job"), ("app", "A-b", "job")]
    longest = [(63 * "a", 63 * "b", 62 * "c" + last) for last in "cd"]

    named = {dns_name(app, RunName(task, job, attempt)) for app, task, job in alike + longest for attempt in (1, 2)}

    assert len(named) == 2 * (len(alike) + len(longest))


@given(names, runs)
def test_a_run_is_read_from_its_labels(app: str, run: RunName) -> None:
    assert LABELS.run(LABELS.of(app, run), dns_name(app, run), app) == run


@pytest.mark.parametrize("name", ["another", dns_name("app", RUN._replace(attempt=2)), dns_name("other", RUN)])
def test_labels_on_something_else_are_no_run(name: str) -> None:
    assert LABELS.run(LABELS.of("app", RUN), name, "app") is None


def test_labels_that_are_not_whole_or_of_others_are_no_run() -> None:
    told, name = LABELS.of("app", RUN), dns_name("app", RUN)

    assert LABELS.run(told, dns_name("other", RUN), "other") is None
    assert LABELS.run({**told, "prefix/attempt": "first"}, name, "app") is None
    assert RunLabels("prefix.").run(told, name, "app") is None
    for label in told:
        assert LABELS.run({key: value for key, value in told.items() if key != label}, name, "app") is None


def test_what_is_asked_for_is_of_the_app_the_task_and_the_job() -> None:
    assert LABELS.wanted("app") == ["prefix/app=app"]
    assert LABELS.wanted("app", "task") == ["prefix/app=app", "prefix/task=task"]
    assert LABELS.wanted("app", "task", "job") == ["prefix/app=app", "prefix/task=task", "prefix/job=job"]
