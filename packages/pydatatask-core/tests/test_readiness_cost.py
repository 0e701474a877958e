"""What readiness does follows what changed, not what exists. Counted in operations, never in time."""

from __future__ import annotations

from random import Random
from typing import TypeVar, overload

import pytest
from pydatatask_core.pipeline import truth
from pydatatask_core.pipeline.readiness import Readiness
from pydatatask_core.pipeline.truth import State
from pydatatask_core.repository.expression import And, KeyExpression, Minus, Or, Related
from readiness_chain import Trial, chain, leaf, translation
from readiness_history import history_of
from readiness_machine import play
from typing_extensions import override

T = TypeVar("T")


class Watched(dict[str, State]):
    """The jobs, each with its state, and which of them were touched."""

    def __init__(self, states: dict[str, State]) -> None:
        super().__init__(states)
        self.touched: list[str] = []

    @override
    def __getitem__(self, job: str, /) -> State:
        self.touched.append(job)
        return super().__getitem__(job)

    @override
    def __setitem__(self, job: str, state: State, /) -> None:
        self.touched.append(job)
        super().__setitem__(job, state)

    @overload
    def get(self, key: str, default: None = None, /) -> State | None: ...
    @overload
    def get(self, key: str, default: State, /) -> State: ...
    @overload
    def get(self, key: str, default: T, /) -> State | T: ...
    @override
    def get(self, key: str, default: object = None, /) -> object:
        self.touched.append(key)
        return super().get(key, default)

    @override
    def __iter__(self) -> object:  # type: ignore[override]  # never returns
        raise AssertionError("all jobs were walked over")

    @override
    def items(self) -> object:  # type: ignore[override]  # never returns
        raise AssertionError("all jobs were walked over")

    @override
    def values(self) -> object:  # type: ignore[override]  # never returns
        raise AssertionError("all jobs were walked over")


def watched(readiness: Readiness) -> Watched:
    readiness._states = states = Watched(readiness._states)
    return states


JOBS = [f"job{number}" for number in range(10_000)]


def test_an_event_touches_only_its_own_job() -> None:
    trial = Trial(*chain(3), s0=JOBS, s1=JOBS)
    trial.answer(**{f"q1{job}": True for job in JOBS})
    states = watched(trial.readiness)
    for store in range(4):
        trial.add(store, "job7")
        trial.add(store, "job7")
        trial.remove(store, "job7")
        trial.readiness.tell(trial.ask_of(1), "job7", True)
    trial.readiness.take_question()
    assert set(states.touched) == {"job7"}
    assert len(states.touched) < 60


def test_an_event_of_a_target_touches_only_the_jobs_that_translate_to_it() -> None:
    trial = Trial(Related(leaf(1), translation(0)), s0=JOBS, s1=["x"])
    trial.answer(**{f"q0{job}": "x" if number < 10 else "y" for number, job in enumerate(JOBS)})
    states = watched(trial.readiness)
    trial.remove(1, "x")
    trial.add(1, "x")
    assert set(states.touched) == {"x", *JOBS[:10]}
    assert len(states.touched) < 120


def test_a_listing_page_touches_only_its_jobs() -> None:
    trial = Trial(leaf(0), s0=JOBS)
    states = watched(trial.readiness)
    trial.begin(0)
    trial.found(0, JOBS[:10])
    assert set(states.touched) == set(JOBS[:10])


def test_a_question_costs_a_look_at_its_job_and_none_is_kept_twice() -> None:
    trial = Trial(*chain(2), leaf(7), s0=JOBS, s1=JOBS)
    assert len(trial.readiness.questions) == len(JOBS)
    for _ in range(100):
        for store in (0, 1, 7):
            trial.add(store, "job7")
        trial.remove(7, "job7")
    assert len(trial.readiness.questions) == len(JOBS)
    trial.readiness.rescan()
    assert len(trial.readiness.questions) == len(JOBS)
    states = watched(trial.readiness)
    trial.readiness.take_question()
    assert len(states.touched) == 1


@pytest.mark.slow
def test_jobs_share_few_states_in_a_long_chain() -> None:
    length = 50
    random = Random(1)
    steps = {job: random.randrange(length) for job in JOBS}
    trial = Trial(*chain(length), unlisted=range(length + 1))
    for store in range(length + 1):
        trial.list(store, [job for job in JOBS if steps[job] >= store])
    while (question := trial.readiness.take_question()) is not None:
        trial.readiness.answer(question, random.random() < 0.9)
    for job in random.sample(JOBS, 5000):
        steps[job] += 1
        if trial.readiness.is_ready(steps[job] - 1, job):
            trial.add(steps[job], job)
            if steps[job] < length:
                trial.readiness.tell(trial.ask_of(steps[job]), job, random.random() < 0.9)
    assert sum(trial.readiness.states().values()) == len(JOBS)
    assert len(trial.readiness.compiled._states) < 6 * length


def test_a_new_state_costs_no_new_evaluation_of_rules_that_it_does_not_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    width = 50
    rules = [Minus(And((leaf(0),)), Or((leaf(number),))) for number in range(1, width + 1)]
    trial = Trial(*rules)
    evaluated: list[KeyExpression] = []
    evaluate = trial.readiness.compiled.truth

    def counted(expression: KeyExpression, mask: int) -> bool | None:
        evaluated.append(expression)
        return evaluate(expression, mask)

    monkeypatch.setattr(trial.readiness.compiled, "truth", counted)
    random = Random(2)
    for job in JOBS[:100]:
        trial.add(0, job)
        for store in random.sample(range(1, width + 1), 10):
            trial.add(store, job)
    assert len(trial.readiness.compiled._states) > 900
    # Two leaves make four masks of each rule; each takes a few steps, once.
    assert len(evaluated) < width * 4 * 8


def test_states_that_nobody_meets_again_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "MOST_STATES", 50)
    width = 20
    trial = Trial(*(Minus(leaf(0), leaf(number)) for number in range(1, width + 1)))
    random = Random(3)
    for job in JOBS[:500]:
        trial.add(0, job)
        for store in random.sample(range(1, width + 1), width):
            trial.add(store, job)
    compiled = trial.readiness.compiled
    assert len(compiled._states) <= 50
    assert all(len(bits.after_adding) <= 50 for bits in compiled.leaves)
    assert trial.readiness.ready_counts() == [0] * width


@pytest.mark.parametrize("most", [1, 3])
def test_forgetting_states_changes_nothing(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(truth, "MOST_STATES", most)
    for seed in range(20):
        play(history_of(seed))
