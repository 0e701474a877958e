"""Manifests are checked before they are sent, and errors name the field."""

from __future__ import annotations

import pytest
from namespaces import manifest
from pydatatask_core.errors import TemplateError
from pydatatask_core.pipeline.quota import Resources
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import RunName
from pydatatask_core.task.template import Template
from pydatatask_exec_kubernetes.cost import requests_of_any_job
from pydatatask_exec_kubernetes.manifest import complete, read_manifest, requests_of

GOOD = manifest("true")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("a: [", "no YAML"),
        ("- a", "a list"),
        (GOOD.replace("kind: Pod", "kind: Job"), "kind: 'Job'"),
        ("apiVersion: v2\n" + GOOD, "apiVersion: 'v2'"),
        ("kind: Pod", "spec: nothing"),
        ("kind: Pod\nspec: {}", "spec.containers: nothing"),
        ("kind: Pod\nspec: {containers: []}", "spec.containers: a list"),
        ("kind: Pod\nspec: {containers: [x]}", r"spec.containers\[0\]: a text"),
        (GOOD.replace("name: main", "name: 3"), r"spec.containers\[0\].name: 3"),
        (GOOD.replace("    image:", "    picture:"), r"spec.containers\[0\].image: None"),
        (GOOD.replace("1m", "lots"), r"spec.containers\[0\].resources.requests.cpu: 'lots'"),
        (GOOD.replace("cpu: 1m, ", ""), r"spec.containers\[0\].resources.requests.cpu is missing"),
        (GOOD.replace(", memory: 8Mi", ""), r"spec.containers\[0\].resources.requests.memory is missing"),
        (GOOD + "  - {name: main, image: other}\n", r"spec.containers\[1\].name: 'main' is the name of two"),
    ],
)
def test_an_error_names_the_field(text: str, field: str) -> None:
    with pytest.raises(TemplateError, match=field):
        read_manifest(text, "The manifest of task 'x'", counted=True)


def test_a_pod_gets_name_labels_and_owner_and_is_never_restarted() -> None:
    text = GOOD.replace(
        "spec:",
        "metadata:\n  generateName: some\n  labels: {team: blue, pydatatask/app: theirs}\n"
        "  annotations: {note: x, pydatatask/owner: them}\nspec:\n  restartPolicy: Always",
    )
    run = RunName("a_b", "Some.Job", 2)
    given = read_manifest(text, "it", counted=True)

    pod = complete(given, "app", "space", run, "0ffee")

    assert given == read_manifest(text, "it", counted=True)
    assert pod["metadata"] == {
        "name": dns_name("app", run),
        "namespace": "space",
        "labels": {
            "team": "blue",
            "pydatatask/app": "app",
            "pydatatask/task": "a_b",
            "pydatatask/job": "Some.Job",
            "pydatatask/attempt": "2",
        },
        "annotations": {"note": "x", "pydatatask/owner": "0ffee"},
    }
    assert pod["spec"]["restartPolicy"] == "Never"


def test_what_a_pod_requests_is_the_sum_or_the_largest_before() -> None:
    pod = {
        "spec": {
            "containers": [
                {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
                {"resources": {"limits": {"cpu": 1, "memory": "512Mi"}}},
                {"resources": {"limits": {"cpu": 8, "memory": "8Gi"}, "requests": {"cpu": 0, "memory": 0}}},
            ],
            "initContainers": [{"resources": {"requests": {"cpu": 2, "memory": "1Mi"}}}],
        }
    }

    assert requests_of(pod) == Resources.parse(2, "1536Mi")


def test_a_container_that_runs_before_the_others_need_not_request_anything() -> None:
    text = GOOD + "  initContainers: [{name: first, image: image}]\n"

    assert requests_of(read_manifest(text, "it", counted=True)) == Resources.parse("1m", "8Mi")


@pytest.mark.parametrize(
    ("cpu", "found"),
    [
        ("2", Resources.parse(2, "8Mi")),
        ("{{ size }}", Resources.parse(3, "8Mi")),
        ("{{ info.cpu }}", None),
        ("{{ job | length }}", None),
        ("{{ info.cpu | int }}", None),
        ("{{ 4 if job == 'large' else 1 }}", None),
        ("{{ 4 if size == '3' else 1 }}", Resources.parse(4, "8Mi")),
        ("{% if job.startswith('large') %}4{% else %}1{% endif %}", None),
        ("{% set wanted = job %}{{ {'large': 4}.get(wanted, 1) }}", None),
        ("{{ {'large': 4}[job] }}", None),
    ],
)
def test_requests_that_are_the_same_for_all_jobs_are_known_before(cpu: str, found: Resources | None) -> None:
    async def info() -> object:
        raise AssertionError("no job is looked into")

    template = Template(GOOD.replace("1m", cpu).replace("true", "echo {{ job }} {{ info.text | shquote }}"), "it")

    assert requests_of_any_job(template, {"info": info, "job": "j", "size": "3"}, frozenset({"size"})) == found
