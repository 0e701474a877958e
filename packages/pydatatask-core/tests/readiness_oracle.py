"""What readiness must say, by definition, worked out from scratch.

There are two worlds: what the stores hold, and what was told of it. This shares no code with readiness: it walks the
expressions anew each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from random import Random
from zlib import crc32

from attrs import define, field, frozen
from pydatatask_core.repository.expression import (
    And,
    Filtered,
    KeyExpression,
    Leaf,
    Minus,
    Or,
    Related,
    Translation,
)
from pydatatask_core.repository.protocols import Repository
from typing_extensions import override

JOBS = ("a", "b", "c")
STORES = 3

Subject = Filtered | Translation
Spot = tuple[int, str]
"""A key of a store."""


class Store(Repository):
    def __init__(self, number: int) -> None:
        self.number = number

    @override
    def __repr__(self) -> str:
        return f"store{self.number}"

    @property
    @override
    def location(self) -> str:
        return repr(self)

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for key in list[str]():
            yield key

    @override
    async def info(self, job: str, /) -> object:
        return None

    @override
    async def delete(self, job: str, /) -> None:
        return None


@frozen
class Accepts:
    number: int

    async def __call__(self, job: str) -> bool:
        raise AssertionError("the test answers by itself")


@frozen
class Translates:
    number: int

    async def __call__(self, job: str) -> str | None:
        raise AssertionError("the test answers by itself")


LEAVES = tuple(Leaf(Store(number)) for number in range(STORES))


def rules_of(random: Random) -> list[KeyExpression]:
    """Expressions of several tasks that share sub-expressions."""
    pool: list[KeyExpression] = list(LEAVES)

    def pick() -> KeyExpression:
        return random.choice(LEAVES if random.random() < 0.3 else pool[-5:])

    def some() -> tuple[KeyExpression, ...]:
        return tuple(pick() for _ in range(random.choice((2, 2, 2, 3, 3, 1, 0))))

    for _ in range(random.randint(2, 10)):
        match random.choice(("filtered", "related", "and", "minus", "or", "filtered", "related")):
            case "and":
                pool.append(And(some()))
            case "or":
                pool.append(Or(some()))
            case "minus":
                pool.append(Minus(pick(), pick()))
            case "filtered":
                pool.append(Filtered(pick(), Accepts(random.randint(0, 1))))
            case _:
                pool.append(Related(pick(), Translation(pick(), Translates(random.choice((0, 0, 1))))))
    return pool[-random.randint(1, 3) :]


def children(expression: KeyExpression) -> tuple[KeyExpression, ...]:
    match expression:
        case Leaf():
            return ()
        case And(parts) | Or(parts):
            return parts
        case Minus(source, unless):
            return (source, unless)
        case Filtered(base, _):
            return (base,)
        case Related(base, translation):
            return (base, translation.keys)


def number_of(leaf: Leaf) -> int:
    assert isinstance(leaf.repo, Store)
    return leaf.repo.number


def base_of(subject: Subject) -> KeyExpression:
    return subject.base if isinstance(subject, Filtered) else subject.keys


class Stores:
    """What the stores hold, and what filters and translators say of it."""

    def __init__(self) -> None:
        self.versions: list[dict[str, int]] = [{} for _ in range(STORES)]
        self.writes = 0

    def put(self, store: int, job: str) -> None:
        self.writes += 1
        self.versions[store][job] = self.writes

    def holds(self, expression: KeyExpression, job: str) -> bool:
        match expression:
            case Leaf():
                return job in self.versions[number_of(expression)]
            case And(parts):
                return bool(parts) and all(self.holds(part, job) for part in parts)
            case Or(parts):
                return any(self.holds(part, job) for part in parts)
            case Minus(source, unless):
                return self.holds(source, job) and not self.holds(unless, job)
            case Filtered(base, _):
                return self.holds(base, job) and self.answer(expression, job) is True
            case Related(base, translation):
                target = self.answer(translation, job)
                return self.holds(translation.keys, job) and isinstance(target, str) and self.holds(base, target)

    def answer(self, subject: Subject, job: str) -> bool | str | None:
        """Any function of the job and of the values behind its key."""
        number = crc32(repr((subject, job, sorted(self.values(base_of(subject), job)))).encode())
        if isinstance(subject, Filtered):
            return bool(number >> 7 & 1)
        return (*JOBS, None)[(number >> 7) % (len(JOBS) + 1)]

    def values(self, expression: KeyExpression, job: str) -> Iterator[tuple[int, str, int]]:
        """The values that must stand behind a key of an expression."""
        match expression:
            case Leaf():
                store = number_of(expression)
                yield store, job, self.versions[store].get(job, 0)
            case And(parts):
                for part in parts:
                    yield from self.values(part, job)
            case Or():
                pass
            case Minus(source, _):
                yield from self.values(source, job)
            case Filtered(base, _):
                yield from self.values(base, job)
            case Related(base, translation):
                yield from self.values(translation.keys, job)
                target = self.answer(translation, job)
                if isinstance(target, str):
                    yield from self.values(base, target)


class Told:
    """What readiness was told."""

    def __init__(self, rules: list[KeyExpression]) -> None:
        self.rules = rules
        self.held: list[set[str]] = [set() for _ in range(STORES)]
        self.listed = [False] * STORES
        self.answers: dict[tuple[Subject, str], bool | str | None] = {}
        self.open: dict[tuple[Subject, str], bool] = {}
        """Whether the key was changed since the question was taken."""
        self.given_up: set[tuple[Subject, str]] = set()

    def truth(self, expression: KeyExpression, job: str) -> bool | None:
        match expression:
            case Leaf():
                store = number_of(expression)
                return True if job in self.held[store] else False if self.listed[store] else None
            case And(parts):
                return self.all(*(self.truth(part, job) for part in parts)) if parts else False
            case Or(parts):
                return self.inverse(self.all(*(self.inverse(self.truth(part, job)) for part in parts)))
            case Minus(source, unless):
                return self.all(self.truth(source, job), self.inverse(self.truth(unless, job)))
            case Filtered(base, _):
                answer = self.answers.get((expression, job))
                assert not isinstance(answer, str)
                return self.all(self.truth(base, job), answer)
            case Related(base, translation):
                if (translation, job) not in self.answers:
                    return self.all(self.truth(translation.keys, job), None)
                target = self.answers[translation, job]
                found = self.truth(base, target) if isinstance(target, str) else False
                return self.all(self.truth(translation.keys, job), found)

    @staticmethod
    def all(*values: bool | None) -> bool | None:
        return False if any(value is False for value in values) else None if None in values else True

    @staticmethod
    def inverse(value: bool | None) -> bool | None:
        return None if value is None else not value

    def wanted(self, expression: KeyExpression, job: str) -> Iterator[tuple[Subject, str]]:
        """The questions whose answers an undecided expression lacks."""
        if self.truth(expression, job) is not None:
            return
        match expression:
            case Filtered(base, _):
                yield from self.wanted(base, job)
                if self.truth(base, job):
                    yield expression, job
            case Related(base, translation):
                yield from self.wanted(translation.keys, job)
                if self.truth(translation.keys, job) and (translation, job) not in self.answers:
                    yield translation, job
                target = self.answers.get((translation, job))
                if isinstance(target, str) and self.truth(translation.keys, job):
                    yield from self.wanted(base, target)
            case _:
                for part in children(expression):
                    yield from self.wanted(part, job)

    def hopes(self, expression: KeyExpression, job: str, elsewhere: bool) -> set[bool]:
        """What answers alone could make of an expression, if ``elsewhere`` whatever they are about other jobs."""
        truth = self.truth(expression, job)
        if truth is not None:
            return {truth}
        match expression:
            case Leaf():
                return set()
            case Or(some):
                parts = [{not hope for hope in self.hopes(part, job, elsewhere)} for part in some]
                return {not hope for hope in self.both(parts)}
            case And(some):
                return self.both([self.hopes(part, job, elsewhere) for part in some])
            case Minus(source, unless):
                refuted = {not hope for hope in self.hopes(unless, job, elsewhere)}
                return self.both([self.hopes(source, job, elsewhere), refuted])
            case Filtered(base, _):
                answer = self.answers.get((expression, job))
                found = {True, False} if answer is None else {answer is True}
                return self.both_of_keys(self.hopes(base, job, elsewhere), found)
            case Related(base, translation):
                target = self.answers.get((translation, job))
                found = {True, False} if elsewhere or target is None else self.hopes(base, str(target), False)
                return self.both_of_keys(self.hopes(translation.keys, job, elsewhere), found)

    def both_of_keys(self, held: set[bool], found: set[bool]) -> set[bool]:
        # Nothing is asked of a key that may not be there.
        return self.both([held, found]) if held else set()

    @staticmethod
    def both(parts: list[set[bool]]) -> set[bool]:
        hopes = {False} if any(False in part for part in parts) else set[bool]()
        return hopes | ({True} if all(True in part for part in parts) else set())

    def all_wanted(self) -> set[tuple[Subject, str]]:
        """The questions that may be asked."""
        return {
            wanted
            for rule in self.rules
            for job in JOBS
            if True in self.hopes(rule, job, elsewhere=True)
            for wanted in self.wanted(rule, job)
        }

    def nothing_is_lost(self) -> bool:
        """Whether a question is open, or was given up, for each task and job that answers alone could make ready."""
        asked = {*self.open, *self.given_up}
        return all(
            not asked.isdisjoint(self.wanted(rule, job))
            for rule in self.rules
            for job in JOBS
            if self.truth(rule, job) is None and True in self.hopes(rule, job, elsewhere=False)
        )

    def change(self, store: int, job: str) -> None:
        """A key changed: what was found out about it, or is being found out, is outdated."""
        subjects = {*self.answers, *self.open, *self.given_up}
        outdated = {(subject, of) for subject, of in subjects if (store, job) in self.reach(base_of(subject), of)}
        for question in outdated:
            self.answers.pop(question, None)
            self.given_up.discard(question)
            if question in self.open:
                self.open[question] = True

    def reach(self, expression: KeyExpression, job: str) -> set[Spot]:
        """The keys that an expression's value for a job stands on."""
        match expression:
            case Leaf():
                return {(number_of(expression), job)}
            case Related(base, translation):
                target = self.answers.get((translation, job))
                there = self.reach(base, target) if isinstance(target, str) else set()
                return self.reach(translation.keys, job) | there
            case _:
                return set[Spot]().union(*(self.reach(part, job) for part in children(expression)))


def walk(expression: KeyExpression) -> Iterator[KeyExpression]:
    yield expression
    for part in children(expression):
        yield from walk(part)


@define
class Listing:
    """A listing under way: pages that were read and not told yet, and what was told meanwhile."""

    checks: bool
    unread: set[str] = field(factory=lambda: set(JOBS))
    pages: deque[list[tuple[str, int]]] = field(factory=deque)
    told: set[str] = field(factory=set)
    gone: set[str] = field(factory=set)
    doubtful: set[str] = field(factory=set)

    @property
    def complete(self) -> bool:
        return not self.unread and not self.pages
