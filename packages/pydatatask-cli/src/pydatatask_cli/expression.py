"""The set expressions of ``ls``: read by a tokenizer and a recursive descent parser, never evaluated as Python.

A word with a dot is a repository, ``task.link``. A word with ``*``, ``?`` or ``[``, or anything in quotes, is a
pattern for job ids. ``&`` and ``-`` bind equally, from left to right, and tighter than ``|``; parentheses group.
``-`` is an operator only between spaces, since names contain it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from fnmatch import translate
from typing import Literal

from attrs import define, field, frozen

from .errors import UsageError

__all__ = [
    "Both",
    "Either",
    "Expression",
    "ExpressionError",
    "Named",
    "Pattern",
    "Without",
    "holds",
    "matcher",
    "names_in",
    "parse",
    "sources",
]


class ExpressionError(UsageError):
    """A set expression cannot be read. Points at the column."""

    def __init__(self, text: str, column: int, problem: str) -> None:
        """``column`` counts from 0."""
        super().__init__(f"{problem}\n  {text}\n  {' ' * column}^")
        self.column = column


@frozen
class Named:
    """The jobs of the repository called ``name``."""

    name: str
    column: int = field(eq=False, default=0)


@frozen
class Pattern:
    """All job ids that fit a pattern."""

    glob: str
    column: int = field(eq=False, default=0)
    fits: Callable[[str], bool] = field(init=False, eq=False, repr=False)

    @fits.default
    def _fits(self) -> Callable[[str], bool]:
        return matcher(self.glob)


@frozen
class Both:
    """The jobs in both."""

    left: Expression
    right: Expression


@frozen
class Either:
    """The jobs in one or the other."""

    left: Expression
    right: Expression


@frozen
class Without:
    """The jobs in the left one that are not in the right one."""

    left: Expression
    right: Expression


Expression = Named | Pattern | Both | Either | Without


def matcher(glob: str) -> Callable[[str], bool]:
    """Give a function that tells whether a job id fits a pattern of ``*``, ``?`` and ``[...]``."""
    compiled = re.compile(translate(glob))
    return lambda job: compiled.match(job) is not None


def parse(text: str) -> Expression:
    """Read a set expression.

    :raises ExpressionError: if it is none, or if nothing in it limits a pattern to the jobs of a repository.
    """
    parser = _Parser(text, list(_tokens(text)))
    expression = parser.expression()
    parser.expect_end()
    unlimited = _unlimited(expression)
    if unlimited is not None:
        raise ExpressionError(
            text,
            unlimited.column,
            f"The pattern {unlimited.glob!r} says which jobs, but not of which repository. "
            f"Write task.link & {unlimited.glob}",
        )
    return expression


def names_in(expression: Expression) -> Iterator[Named]:
    """Give the repositories that an expression names."""
    match expression:
        case Named():
            yield expression
        case Both(left, right) | Either(left, right) | Without(left, right):
            yield from names_in(left)
            yield from names_in(right)


def holds(expression: Expression, job: str, held: Mapping[str, Set[str]]) -> bool:
    """Tell whether a job is in the set, given the jobs of each named repository."""
    match expression:
        case Named(name):
            return job in held[name]
        case Pattern():
            return expression.fits(job)
        case Both(left, right):
            return holds(left, job, held) and holds(right, job, held)
        case Either(left, right):
            return holds(left, job, held) or holds(right, job, held)
        case Without(left, right):
            return holds(left, job, held) and not holds(right, job, held)


def sources(expression: Expression) -> list[str]:
    """Name repositories whose jobs together include every job of the set: the fewest that are easily told."""
    match expression:
        case Named(name):
            return [name]
        case Pattern():
            return []
        case Both(left, right):
            left_sources = [] if _unlimited(left) else sources(left)
            right_sources = [] if _unlimited(right) else sources(right)
            if not left_sources or not right_sources:
                return left_sources or right_sources
            return left_sources if len(left_sources) <= len(right_sources) else right_sources
        case Either(left, right):
            return list(dict.fromkeys([*sources(left), *sources(right)]))
        case Without(left, _):
            return sources(left)


def _unlimited(expression: Expression) -> Pattern | None:
    """Give a pattern that makes the set endless, if one does."""
    match expression:
        case Named():
            return None
        case Pattern():
            return expression
        case Both(left, right):
            left_pattern, right_pattern = _unlimited(left), _unlimited(right)
            return left_pattern if left_pattern and right_pattern else None
        case Either(left, right):
            return _unlimited(left) or _unlimited(right)
        case Without(left, _):
            return _unlimited(left)


# Reading.

Kind = Literal["word", "quoted", "&", "|", "-", "(", ")"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<mark>[&|()]) |
        (?P<quote>['"])(?P<quoted>.*?)(?P=quote) |
        (?P<word>[^\s&|()'"]+)
    )""",
    re.VERBOSE,
)


_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-*?\[\]!^]")
_ONLY_BETWEEN_SPACES = "'-' takes away only between spaces: a.done - b.done."
_MARKS: dict[str, Kind] = {"&": "&", "|": "|", "(": "(", ")": ")"}


@frozen
class _Token:
    kind: Kind
    text: str
    column: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    end = len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            column = at + len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(text, column, "This quotation mark is never closed.")
        at = found.end()
        kind = str(found.lastgroup)
        if kind == "mark":
            yield _Token(_MARKS[found["mark"]], found["mark"], found.start("mark"))
        elif found["quote"]:
            yield _Token("quoted", found["quoted"], found.start("quote"))
        elif found["word"] == "-":
            yield _Token("-", "-", found.start("word"))
        else:
            yield _Token("word", found["word"], found.start("word"))


@define
class _Parser:
    text: str
    tokens: list[_Token]
    at: int = 0

    def expression(self) -> Expression:
        left = self.term()
        while self.take("|"):
            left = Either(left, self.term())
        return left

    def term(self) -> Expression:
        left = self.factor()
        while True:
            if self.take("&"):
                left = Both(left, self.factor())
            elif self.take("-"):
                left = Without(left, self.factor())
            else:
                return left

    def factor(self) -> Expression:
        token = self.next()
        if token is None:
            raise self.error(len(self.text.rstrip()), "A repository or a pattern is missing here.")
        self.at += 1
        if token.kind == "(":
            inside = self.expression()
            if not self.take(")"):
                raise self.error(token.column, "This parenthesis is never closed.")
            return inside
        if token.kind == "quoted":
            return Pattern(token.text, token.column)
        if token.kind == "word":
            return self.word(token)
        raise self.error(token.column, f"A repository or a pattern is missing before this {token.text!r}.")

    def word(self, token: _Token) -> Expression:
        foreign = _FOREIGN.search(token.text)
        if foreign is not None:
            raise self.error(token.column + foreign.start(), f"{foreign[0]!r} means nothing here.")
        if re.search(r"[*?\[]", token.text):
            return Pattern(token.text, token.column)
        if token.text.startswith("-") or token.text.endswith("-"):
            raise self.error(token.column, _ONLY_BETWEEN_SPACES)
        if "." not in token.text:
            raise self.error(
                token.column,
                f"{token.text!r} is neither a repository, as in task.link, nor a pattern, as in book-*. "
                f"Put quotes around a job id: '{token.text}'.",
            )
        return Named(token.text, token.column)

    def expect_end(self) -> None:
        token = self.next()
        if token is None:
            return
        if token.kind == ")":
            raise self.error(token.column, "This parenthesis was never opened.")
        if token.kind == "word" and token.text.startswith("-"):
            raise self.error(token.column, _ONLY_BETWEEN_SPACES)
        raise self.error(token.column, "'&', '|' or '-' is missing before this.")

    def next(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, kind: Kind) -> bool:
        token = self.next()
        if token is None or token.kind != kind:
            return False
        self.at += 1
        return True

    def error(self, column: int, problem: str) -> ExpressionError:
        return ExpressionError(self.text, column, problem)
