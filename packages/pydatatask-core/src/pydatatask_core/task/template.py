"""Templates: what a script or a manifest looks like for one job."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from jinja2 import (
    Environment,
    StrictUndefined,
    TemplateError as JinjaError,
    TemplateSyntaxError,
    UndefinedError,
    meta,
    nodes,
)

from ..errors import ConfigurationError, MissingJobError, TemplateError

__all__ = ["Template", "Variables"]

Variables = Mapping[str, str | Callable[[], Awaitable[Any]]]
"""What a template may name: text, or something to ask for if it does."""

_SUFFIXES = frozenset({".j2", ".jinja", ".jinja2", ".sh", ".bash", ".py", ".yaml", ".yml", ".json"})


_PLAIN = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const)
_QUOTING = frozenset({"shquote", "to_json", "to_yaml", "tojson", "string", "trim", "upper", "lower"})
"""Filters that give different texts for different values."""


class _Dumper(Protocol):
    def __call__(self, value: Any, /) -> str: ...


def _environment() -> Environment:
    # What is made is a script or a manifest, and no HTML.
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    filters: dict[str, _Dumper] = {
        "shquote": lambda value: shlex.quote(str(value)),
        "to_json": lambda value: json.dumps(value, default=str),
        "to_yaml": lambda value: (
            yaml.safe_dump(value, default_flow_style=True, width=2**30).removesuffix("...\n").strip()
        ),
    }
    environment.filters.update(filters)
    return environment


_ENVIRONMENT = _environment()


class Template:
    """A Jinja2 template. A variable that nobody gave is an error and never an empty string."""

    def __init__(self, source: str | os.PathLike[str], what: str) -> None:
        """:param source: the template; or a file that holds it: a path object, or the name of an existing file that
            ends as templates and scripts do.
        :param what: what it is, for errors.
        :raises ConfigurationError: if the file cannot be read or the template is none.
        """
        self.what = what
        text = _read(source, what)
        try:
            tree = _ENVIRONMENT.parse(text)
            self._template = _ENVIRONMENT.from_string(text)
        except TemplateSyntaxError as error:
            raise ConfigurationError(f"{what}, line {error.lineno}, is no Jinja2 template: {error.message}") from error
        self._tree = tree
        self.names = frozenset(meta.find_undeclared_variables(tree))
        """The variables that it names."""

    async def render(self, variables: Variables) -> str:
        """Give the text for one job. Only what is named is asked for.

        :raises TemplateError: naming the variable, if it is unknown, or nothing stands behind it.
        """
        values: dict[str, Any] = {}
        for name in sorted(self.names & variables.keys()):
            value = variables[name]
            values[name] = value if isinstance(value, str) else await self._ask(name, value)
        try:
            return self._template.render(values)
        except UndefinedError as error:
            raise TemplateError(f"{self.what}: {error.message}. Known are: {', '.join(sorted(variables))}.") from error
        except (JinjaError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise TemplateError(f"{self.what} cannot be rendered: {type(error).__name__}: {error}") from error

    def only_puts_in(self, names: Collection[str]) -> bool:
        """Tell whether what the variables hold is put into the text as it is, and decides nothing."""
        return _only_puts_in(self._tree, names)

    async def _ask(self, name: str, value: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await value()
        except MissingJobError as error:
            raise TemplateError(f"{self.what} names {name!r}, and nothing is there for this job: {error}") from error


def _only_puts_in(node: nodes.Node, names: Collection[str]) -> bool:
    if isinstance(node, _PLAIN) or (isinstance(node, nodes.Filter) and node.name in _QUOTING):
        return all(_only_puts_in(child, names) for child in node.iter_child_nodes())
    return not any(found.name in names for found in node.find_all(nodes.Name)) and not (
        isinstance(node, nodes.Name) and node.name in names
    )


def _read(source: str | os.PathLike[str], what: str) -> str:
    if isinstance(source, str) and (
        "\n" in source or Path(source).suffix not in _SUFFIXES or not Path(source).is_file()
    ):
        return source
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what} cannot be read from {os.fspath(source)!r}: {error}") from error
