"""The manifest of a pod: read, checked before it is sent, and made the run's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml
from pydatatask_core.errors import ConfigurationError, TemplateError
from pydatatask_core.pipeline.quota import Resources, quantity
from pydatatask_core.runs.naming import dns_name
from pydatatask_core.runs.site import RunName

from ._client import Pod
from .naming import LABELS, OWNER

__all__ = ["Manifest", "complete", "read_manifest", "requests_of"]

Manifest = Mapping[str, Any]
"""A pod's manifest that was checked, without what makes it a run's."""

_AMOUNTS = ("cpu", "memory")


def read_manifest(text: str, what: str, *, counted: bool) -> Manifest:
    """Read a manifest in YAML and check it.

    :param what: what it is, for errors.
    :param counted: a quota counts the pod, so its containers must request cpu and memory.
    :raises TemplateError: naming the field.
    """
    try:
        manifest = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError(f"{what} is no YAML: {error}") from error
    try:
        _check(manifest, counted)
    except _FieldError as error:
        raise TemplateError(f"{what}: {error}") from error
    manifest.setdefault("apiVersion", "v1")
    checked: Manifest = manifest
    return checked


class _FieldError(Exception):
    """A field is wrong."""


def _check(manifest: Any, counted: bool) -> None:
    if not isinstance(manifest, dict):
        raise _FieldError(f"it is {_kind(manifest)}, and should be a mapping with kind: Pod.")
    if manifest.get("kind") != "Pod":
        raise _FieldError(f"kind: {manifest.get('kind')!r} should be 'Pod'.")
    if manifest.get("apiVersion", "v1") != "v1":
        raise _FieldError(f"apiVersion: {manifest['apiVersion']!r} should be 'v1'.")
    metadata = _mapping(manifest, "metadata", "", missing={})
    for field in ("labels", "annotations"):
        _mapping(metadata, field, "metadata.", missing={})
    spec = _mapping(manifest, "spec", "")
    for field in ("containers", "initContainers"):
        _check_containers(spec, field, counted and field == "containers")


def _check_containers(spec: Mapping[str, Any], field: str, counted: bool) -> None:
    containers = spec.get(field)
    if containers is None and field == "initContainers":
        return
    where = f"spec.{field}"
    if not isinstance(containers, list) or not containers:
        raise _FieldError(f"{where}: {_kind(containers)} should be a list of at least one container.")
    names: set[str] = set()
    for index, container in enumerate(containers):
        at = f"{where}[{index}]"
        if not isinstance(container, dict):
            raise _FieldError(f"{at}: {_kind(container)} should be a mapping with name and image.")
        for word in ("name", "image"):
            if not isinstance(container.get(word), str) or not container[word]:
                raise _FieldError(f"{at}.{word}: {container.get(word)!r} should be a text.")
        if container["name"] in names:
            raise _FieldError(f"{at}.name: {container['name']!r} is the name of two containers.")
        names.add(container["name"])
        resources = _mapping(container, "resources", f"{at}.", missing={})
        for kind in ("requests", "limits"):
            _check_amounts(_mapping(resources, kind, f"{at}.resources.", missing={}), f"{at}.resources.{kind}")
        wanted = _wanted(container)
        lacking = next((amount for amount in _AMOUNTS if amount not in wanted), None)
        if counted and lacking is not None:
            raise _FieldError(
                f"{at}.resources.requests.{lacking} is missing. The task has a quota, which counts what pods request."
            )


def _check_amounts(amounts: Mapping[str, Any], at: str) -> None:
    for name in _AMOUNTS:
        if name in amounts:
            try:
                quantity(amounts[name], f"{at}.{name}")
            except ConfigurationError as error:
                raise _FieldError(str(error)) from error


def _mapping(
    parent: Mapping[str, Any], field: str, at: str, missing: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    found = parent.get(field)
    if found is None and missing is not None:
        return missing
    if not isinstance(found, dict):
        raise _FieldError(f"{at}{field}: {_kind(found)} should be a mapping.")
    return found


def _kind(value: Any) -> str:
    kinds = {type(None): "nothing", list: "a list", dict: "a mapping", str: "a text"}
    return kinds.get(type(value), repr(value))


def _wanted(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a container requests. Limits stand in for requests that are not made, as in the cluster."""
    resources = container.get("resources") or {}
    return {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def requests_of(pod: Manifest | Pod) -> Resources:
    """Give what a pod requests: all its containers together, or the largest of those that run before them."""
    spec = pod["spec"]
    together = Resources()
    for container in spec["containers"]:
        together += _amounts(container)
    cpu, mem = together.cpu, together.mem
    for container in spec.get("initContainers") or ():
        before = _amounts(container)
        cpu, mem = max(cpu, before.cpu), max(mem, before.mem)
    return Resources(cpu, mem)


def _amounts(container: Mapping[str, Any]) -> Resources:
    wanted = _wanted(container)
    return Resources.parse(wanted.get("cpu", 0), wanted.get("memory", 0))


def complete(manifest: Manifest, app: str, namespace: str, run: RunName, owner: str) -> dict[str, Any]:
    """Give the pod of a run: the manifest with the run's name, labels and owner, never restarted by the cluster."""
    pod = copy.deepcopy(dict(manifest))
    metadata = pod["metadata"] = dict(pod.get("metadata") or {})
    metadata["name"] = dns_name(app, run)
    metadata["namespace"] = namespace
    metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS.of(app, run)}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), OWNER: owner}
    metadata.pop("generateName", None)
    pod["spec"]["restartPolicy"] = "Never"
    return pod
