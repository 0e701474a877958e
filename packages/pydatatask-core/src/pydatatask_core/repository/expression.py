"""What a repository's keys are made of, as data: readiness keeps them up to date without asking for them.

Expressions are equal when they describe the same set, so that what two tasks share is worked out once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from .protocols import Repository

__all__ = ["And", "Filtered", "KeyExpression", "Leaf", "Minus", "Or", "Related", "Translation", "leaves"]


@frozen
class Leaf:
    """The keys that a store holds. Two leaves of one location are the same."""

    repo: Repository = field(eq=False)
    location: str = field(init=False)

    @location.default
    def _location(self) -> str:
        return self.repo.location


@frozen
class And:
    """The keys in every child. Without children: no keys."""

    children: tuple[KeyExpression, ...]


@frozen
class Or:
    """The keys in any child."""

    children: tuple[KeyExpression, ...]


@frozen
class Minus:
    """The keys in ``source`` that are not in ``unless``."""

    source: KeyExpression
    unless: KeyExpression


@frozen
class Filtered:
    """The keys of ``base`` that ``accepts`` says yes to. It is asked again when a key of ``base`` is added again."""

    base: KeyExpression
    accepts: Callable[[str], Awaitable[bool]]


@frozen
class Translation:
    """What gives each job another job: the keys of ``keys``, each with the job that ``translate`` gives for it.

    ``translate`` gives None for a job without a translation. It is asked again when a key of ``keys`` is added again.
    """

    keys: KeyExpression
    translate: Callable[[str], Awaitable[str | None]]


@frozen
class Related:
    """The keys of a translation whose translated job is a key of ``base``."""

    base: KeyExpression
    translation: Translation


KeyExpression = Leaf | And | Or | Minus | Filtered | Related
"""A set of keys, described by stores and set operations."""


def leaves(expression: KeyExpression) -> frozenset[Leaf]:
    """Give the stores that an expression stands on."""
    match expression:
        case Leaf():
            return frozenset((expression,))
        case And(children) | Or(children):
            return frozenset().union(*map(leaves, children))
        case Minus(source, unless):
            return leaves(source) | leaves(unless)
        case Filtered(base, _):
            return leaves(base)
        case Related(base, translation):
            return leaves(base) | leaves(translation.keys)
