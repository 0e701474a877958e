"""Arguments and options that several verbs share, and how a shell completes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem
from pydatatask_core.errors import JobIdError
from pydatatask_core.job import check_job
from pydatatask_core.pipeline.pipeline import Pipeline
from typing_extensions import override

from ..invocation import Invocation

__all__ = ["JOB", "LINK", "TARGET", "TASK", "json_option"]

F = TypeVar("F", bound=Callable[..., Any])

if TYPE_CHECKING:
    StringType = click.ParamType[str]
else:
    # It takes no type arguments in click 8.1.
    StringType = click.ParamType


class _Name(StringType):
    """A string that a shell can complete from the pipeline."""

    def __init__(self, name: str, known: Callable[[Pipeline], list[str]]) -> None:
        self.name = name
        self._known = known

    @override
    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        invocation = ctx.find_object(Invocation) or Invocation()
        invocation.spec = invocation.spec or ctx.find_root().params.get("pipeline")
        try:
            known = self._known(invocation.pipeline)
        except Exception:  # noqa: BLE001  # a shell that completes is no place for errors
            return []
        return [CompletionItem(name) for name in known if name.startswith(incomplete)]


class _Job(StringType):
    name = "job"

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return check_job(value)
        except JobIdError as error:
            self.fail(str(error), param, ctx)


def _links(pipeline: Pipeline) -> list[str]:
    return [f"{task.name}.{link}" for task in pipeline.tasks.values() for link in task.links]


TASK = _Name("task", lambda pipeline: list(pipeline.tasks))
LINK = _Name("link", _links)
TARGET = _Name("target", lambda pipeline: [*_links(pipeline), *pipeline.tasks])
JOB = _Job()


def json_option(what: str) -> Callable[[F], F]:
    """Add ``--json`` to a verb; ``what`` says what it prints then."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")
