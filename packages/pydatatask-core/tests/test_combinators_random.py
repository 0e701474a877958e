"""Random compositions over random stores agree with sets, worked out here without the code under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from attrs import frozen
from hypothesis import given, settings, strategies as st
from pydatatask_core.repository.combinators import (
    AggregateAndRepository,
    AggregateOrRepository,
    BlockingRepository,
    RelatedItemRepository,
)
from pydatatask_core.repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Related
from pydatatask_core.repository.memory import InProcessMetadataRepository
from pydatatask_core.repository.protocols import Repository
from typing_extensions import override

JOBS = "abcdefg"
_stores = st.dictionaries(st.sampled_from(JOBS), st.sampled_from([*JOBS, "zz", None, {}, "no job id"]))


class Paged(InProcessMetadataRepository):
    """A store that lists two keys at a time."""

    @override
    async def pages(self) -> AsyncIterator[list[str]]:
        jobs = list(self.data)
        for start in range(0, len(jobs), 2):
            await asyncio.sleep(0)
            yield jobs[start : start + 2]


@frozen
class Composition:
    """A repository, and what it must hold: each job with its info."""

    repo: Repository
    expected: dict[str, Any]
    info: Callable[[str], Any]
    """What ``info`` gives for any job, or KeyError."""


def _leaf(store: dict[str, Any]) -> Composition:
    return Composition(Paged(dict(store)), dict(store), store.get)


def _and(children: list[Composition]) -> Composition:
    def info(job: str) -> dict[str, Any]:
        return {f"c{n}": child.info(job) for n, child in enumerate(children)}

    keys = set.intersection(*(set(child.expected) for child in children)) if children else set()
    repo = AggregateAndRepository(**{f"c{n}": child.repo for n, child in enumerate(children)})
    return Composition(repo, {job: info(job) for job in keys}, info)


def _or(children: list[Composition]) -> Composition:
    def info(job: str) -> dict[str, Any]:
        return {f"c{n}": child.info(job) for n, child in enumerate(children) if job in child.expected}

    keys = {job for child in children for job in child.expected}
    repo = AggregateOrRepository(**{f"c{n}": child.repo for n, child in enumerate(children)})
    return Composition(repo, {job: info(job) for job in keys}, info)


def _minus(source: Composition, unless: Composition, enumerate_unless: bool) -> Composition:
    expected = {job: info for job, info in source.expected.items() if job not in unless.expected}
    return Composition(BlockingRepository(source.repo, unless.repo, enumerate_unless), expected, source.info)


def _map(base: Composition, accepted: frozenset[str] | None) -> Composition:
    async def func(info: Any) -> Any:
        await asyncio.sleep(0)
        return ["mapped", info]

    async def filt(job: str) -> bool:
        await asyncio.sleep(0)
        return accepted is not None and job in accepted

    expected = {job: ["mapped", info] for job, info in base.expected.items() if accepted is None or job in accepted}
    repo = base.repo.map(func, None if accepted is None else filt)
    return Composition(repo, expected, lambda job: ["mapped", base.info(job)])


def _related(base: Composition, links: dict[str, Any], prefetch: bool) -> Composition:
    def info(job: str) -> Any:
        return base.info(targets[job])

    targets = {job: target for job, target in links.items() if target in (*JOBS, "zz")}
    expected = {job: base.info(target) for job, target in targets.items() if target in base.expected}
    return Composition(RelatedItemRepository(base.repo, Paged(links), prefetch_lookup=prefetch), expected, info)


def _compositions() -> st.SearchStrategy[Composition]:
    return st.recursive(
        _stores.map(_leaf),
        lambda inner: (
            st.lists(inner, max_size=3).map(_and)
            | st.lists(inner, max_size=3).map(_or)
            | st.builds(_minus, inner, inner, st.booleans())
            | st.builds(_map, inner, st.none() | st.frozensets(st.sampled_from(JOBS)))
            | st.builds(_related, inner, _stores, st.booleans())
        ),
        max_leaves=6,
    )


async def _keys(expression: KeyExpression) -> set[str]:
    """Evaluate an expression by its words alone."""
    match expression:
        case Leaf(repo):
            return {job async for job in repo}
        case And(children):
            sets = [await _keys(child) for child in children]
            return set.intersection(*sets) if sets else set()
        case Or(children):
            return {job for child in children for job in await _keys(child)}
        case Minus(source, unless):
            return await _keys(source) - await _keys(unless)
        case Filtered(base, accepts):
            return {job for job in await _keys(base) if await accepts(job)}
        case Related(base, translation):
            held = await _keys(base)
            return {job for job in await _keys(translation.keys) if await translation.translate(job) in held}


async def _outcome(verb: Awaitable[Any]) -> Any:
    try:
        return await verb
    except LookupError:
        return LookupError


def _expected_info(composition: Composition, job: str) -> Any:
    try:
        return composition.info(job)
    except KeyError:
        return LookupError


@settings(max_examples=150, deadline=None)
@given(composition=_compositions())
def test_a_composition_holds_what_the_sets_say(composition: Composition) -> None:
    asyncio.run(_check(composition))


async def _check(composition: Composition) -> None:
    repo, expected = composition.repo, composition.expected
    listed = [job async for job in repo]
    assert len(listed) == len(set(listed)), "a job was given twice"
    assert set(listed) == expected.keys()
    assert {job for page in [page async for page in repo.pages()] for job in page} == expected.keys()
    assert {job for job in (*JOBS, "zz") if await repo.contains(job)} == expected.keys()
    assert await _keys(repo.expression) == expected.keys()
    assert await repo.info_all() == expected
    for job in JOBS:
        assert await _outcome(repo.info(job)) == _expected_info(composition, job)
