"""Which keys of a repository stand for which keys of the stores that it is made of, and the other way round.

A task that reads through a translator makes its own jobs from those of the repository behind it. What was made from
a job is found only by asking the translator for every job that it knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydatatask_core.repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Related
from pydatatask_core.repository.together import together

from .records import AT_ONCE

__all__ = ["behind", "seen_from"]


async def behind(expression: KeyExpression, jobs: set[str]) -> dict[str, set[str]]:
    """Give the stores in which deleting these jobs of a repository may delete keys, each with those keys."""
    match expression:
        case Leaf(location=location):
            return {location: jobs}
        case And(children) | Or(children):
            found: dict[str, set[str]] = {}
            for child in children:
                for place, keys in (await behind(child, jobs)).items():
                    found.setdefault(place, set()).update(keys)
            return found
        case Minus(source, _):
            return await behind(source, jobs)
        case Filtered(base, _):
            return await behind(base, jobs)
        case Related(base, translation):
            targets = await together(translation.translate, sorted(jobs), AT_ONCE)
            return await behind(base, {target for target in targets if target is not None})


async def seen_from(expression: KeyExpression, place: str, jobs: set[str]) -> set[str]:
    """Give the keys by which a repository knows the jobs of a store that it stands on. None if it does not."""
    match expression:
        case Leaf(location=location):
            return jobs if location == place else set()
        case And(children) | Or(children):
            return set[str]().union(*[await seen_from(child, place, jobs) for child in children])
        case Minus(source, _):
            return await seen_from(source, place, jobs)
        case Filtered(base, _):
            return await seen_from(base, place, jobs)
        case Related(base, translation):
            targets = await seen_from(base, place, jobs)
            return await _translating_to(targets, translation.keys, translation.translate) if targets else set()


async def _translating_to(
    targets: set[str], keys: KeyExpression, translate: Callable[[str], Awaitable[str | None]]
) -> set[str]:
    sources = sorted(await _keys(keys))
    found = await together(translate, sources, AT_ONCE)
    return {source for source, target in zip(sources, found, strict=True) if target in targets}


async def _keys(expression: KeyExpression) -> set[str]:
    """List the keys of an expression."""
    match expression:
        case Leaf(repo=repo):
            return {job async for page in repo.pages() for job in page}
        case And(children):
            return set.intersection(*[await _keys(child) for child in children]) if children else set()
        case Or(children):
            return set[str]().union(*[await _keys(child) for child in children])
        case Minus(source, unless):
            return await _keys(source) - await _keys(unless)
        case Filtered(base, accepts):
            jobs = sorted(await _keys(base))
            return {job for job, yes in zip(jobs, await together(accepts, jobs, AT_ONCE), strict=True) if yes}
        case Related(base, translation):
            sources = sorted(await _keys(translation.keys))
            held = await _keys(base)
            targets = await together(translation.translate, sources, AT_ONCE)
            return {source for source, target in zip(sources, targets, strict=True) if target in held}
