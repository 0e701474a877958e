"""What a repository's keys are made of, as data: readiness keeps them up to date without asking for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from .protocols import Repository

__all__ = ["And", "Filtered", "KeyExpression", "Leaf", "Minus", "Or", "Related"]


@frozen
class Leaf:
    """The keys that a store holds. Two leaves of one location are the same."""

    repo: Repository = field(eq=False)
    location: str = field(init=False)

    @location.default
    def _(self) -> str:
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


@frozen(eq=False)
class Filtered:
    """The keys of ``base`` that ``accepts`` says yes to. It is asked again when a key of ``base`` is added again."""

    base: KeyExpression
    accepts: Callable[[str], Awaitable[bool]]


@frozen(eq=False)
class Related:
    """The keys of ``translator`` whose translation is a key of ``base``.

    ``translate`` gives a key's translation, or None if it has none. It is asked again when the key is added again
    to ``translator``.
    """

    base: KeyExpression
    translator: Leaf
    translate: Callable[[str], Awaitable[str | None]]


KeyExpression = Leaf | And | Or | Minus | Filtered | Related
"""A set of keys, described by stores and set operations."""
