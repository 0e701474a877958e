"""Histories: which tasks there are, and what happens to the stores, to what is told of them, and to questions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import evolve, frozen
from pydatatask_core.repository.expression import KeyExpression
from readiness_oracle import JOBS, STORES, Spot, rules_of

__all__ = ["SPOTS", "Event", "History", "history_of", "shrunk"]

SPOTS = tuple((store, job) for store in range(STORES) for job in JOBS)

KINDS = {
    "put": 5,
    "publish": 2,
    "delete": 4,
    "say_again": 1,
    "overflow": 1,
    "deliver": 6,
    "begin_listing": 2,
    "read_page": 3,
    "tell_page": 3,
    "end_listing": 2,
    "check_doubt": 1,
    "tell_check": 1,
    "rescan": 1,
    "take": 7,
    "look_up": 3,
    "answer": 7,
    "fail_to_answer": 1,
    "tell": 1,
}
"""How often each kind of event happens."""


@frozen
class Event:
    """What happens next. ``pick`` chooses from what there is to choose from."""

    kind: str
    pick: int
    flag: bool


@frozen
class History:
    """Tasks, the stores at the beginning, and what happens then."""

    rules: list[KeyExpression]
    filled: frozenset[Spot]
    unlisted: frozenset[int]
    loading: bool
    events: tuple[Event, ...]


def history_of(seed: int) -> History:
    """Any history. A seeded generator is even where strategies of Hypothesis prefer what is small and alike."""
    random = Random(seed)
    rare = random.random() < 0.4
    return History(
        rules=rules_of(random),
        filled=frozenset(spot for spot in SPOTS if random.random() < 0.7),
        unlisted=frozenset(store for store in range(STORES) if rare and random.random() < 0.5),
        loading=rare and random.random() < 0.5,
        events=tuple(
            Event(kind, random.randrange(len(SPOTS)), random.random() < 0.5)
            for kind in random.choices(list(KINDS), list(KINDS.values()), k=120)
        ),
    )


def shrunk(history: History, is_wrong: Callable[[History], bool]) -> History:
    """Give the history with all events left out that can be left out while it ``is_wrong``."""
    size = len(history.events)
    while size > 1:
        size //= 2
        start = 0
        while start < len(history.events):
            events = history.events[:start] + history.events[start + size :]
            if is_wrong(shorter := evolve(history, events=events)):
                history = shorter
            else:
                start += size
    return history
