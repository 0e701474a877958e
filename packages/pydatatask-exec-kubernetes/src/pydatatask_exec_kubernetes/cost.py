"""What pods request, told from a template before it is rendered for any job."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pydatatask_core.errors import TemplateError
from pydatatask_core.pipeline.quota import Resources
from pydatatask_core.task.template import Template, Variables
from typing_extensions import override

from .manifest import read_manifest, requests_of

__all__ = ["requests_of_any_job"]


class _Anything(str):
    """Stands for a value that differs between jobs. Whatever is taken from it is the same again."""

    __slots__ = ()

    def __getattr__(self, name: str) -> _Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    @override
    def __getitem__(self, key: Any) -> _Anything:
        return self


def requests_of_any_job(template: Template, variables: Variables, fixed: frozenset[str]) -> Resources | None:
    """Give what a manifest requests for every job; None if that depends on the job.

    The template is rendered with two values that have nothing in common, and is seen to request the same. That proves
    it for a template that does no more with values than to put them in; of others nothing is said.

    :param fixed: the variables that are the same for all jobs.
    """
    if not template.only_puts_in(template.names - fixed):
        return None
    found = [_requests(template, variables, fixed, _Anything(word)) for word in ("a1", "b22")]
    return found[0] if found[0] == found[1] else None


def _requests(template: Template, variables: Variables, fixed: frozenset[str], stand_in: str) -> Resources | None:
    ask: Callable[[], Coroutine[Any, Any, Any]] = partial(_value, stand_in)
    stood_in: Variables = {name: value if name in fixed else ask for name, value in variables.items()}
    try:
        text = _at_once(template.render(stood_in))
        return requests_of(read_manifest(text, template.what, counted=True))
    except (TemplateError, ValueError, TypeError):
        # What a stand-in cannot stand in for, a job's own value will show.
        return None


async def _value(value: str) -> str:
    return value


def _at_once(coroutine: Coroutine[Any, Any, str]) -> str:
    """Give the result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return str(stop.value)
    coroutine.close()
    raise ValueError("it had to wait")
