"""Pipelines to try readiness with, and short words for what is told to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from pydatatask_core.pipeline.readiness import Question, Readiness
from pydatatask_core.pipeline.truth import Ask
from pydatatask_core.repository.expression import And, Filtered, KeyExpression, Leaf, Minus, Or, Translation
from readiness_oracle import Accepts, Store, Translates

__all__ = ["Trial", "chain", "gate", "leaf", "translation"]


def leaf(number: int) -> Leaf:
    return Leaf(Store(number))


def gate(number: int) -> Filtered:
    """Whether the task that fills a store succeeded."""
    return Filtered(leaf(number), Accepts(number))


def translation(number: int) -> Translation:
    """What a store's jobs translate to."""
    return Translation(leaf(number), Translates(number))


def chain(tasks: int) -> list[KeyExpression]:
    """Tasks each of which needs the success of the one before; store 0 is the input, store n task n's records."""
    return [
        Minus(And((leaf(0), gate(number - 1)) if number > 1 else (leaf(0),)), Or((leaf(number),)))
        for number in range(1, tasks + 1)
    ]


class Trial:
    """Readiness over stores that are known by number."""

    def __init__(self, *rules: KeyExpression, unlisted: Sequence[int] = (), **keys: Iterable[str]) -> None:
        """All stores were listed, but those ``unlisted``; ``s0``, ``s1``... give what they hold."""
        self.queues = [deque[str]() for _ in rules]
        self.readiness = Readiness({f"task{number}": rule for number, rule in enumerate(rules)}, self.queues)
        self.places: dict[int, int] = {}
        for place, bits in enumerate(self.readiness.leaves):
            assert isinstance(bits.leaf.repo, Store)
            self.places[bits.leaf.repo.number] = place
        for store in self.places:
            if store not in unlisted:
                assert self.list(store, keys.get(f"s{store}", ())) == []
        self.readiness.rescan()

    def add(self, store: int, *jobs: str) -> None:
        for job in jobs:
            self.readiness.added(self.places[store], job)

    def remove(self, store: int, *jobs: str) -> None:
        for job in jobs:
            self.readiness.removed(self.places[store], job)

    def begin(self, store: int) -> None:
        self.readiness.begin_listing(self.places[store])

    def found(self, store: int, jobs: Iterable[str]) -> None:
        self.readiness.listed(self.places[store], jobs)

    def end(self, store: int) -> list[str]:
        return sorted(self.readiness.end_listing(self.places[store]))

    def list(self, store: int, jobs: Iterable[str]) -> list[str]:
        self.begin(store)
        self.found(store, jobs)
        return self.end(store)

    def count(self, store: int) -> int:
        return self.readiness.count(self.places[store])

    def ready(self, task: int = 0) -> str:
        """The jobs that a task may start, all of one letter."""
        return "".join(job for job in "abcdxyz" if self.readiness.is_ready(task, job))

    def queued(self, task: int = 0) -> str:
        """What came into a task's queue since this was asked last."""
        jobs = "".join(self.queues[task])
        self.queues[task].clear()
        return jobs

    def take(self) -> dict[str, Question]:
        """Take all questions: ``1a`` is the one about job a in store 1."""
        questions: dict[str, Question] = {}
        while (question := self.readiness.take_question()) is not None:
            questions[f"{_number(question)}{question.job}"] = question
        return questions

    def asked(self) -> str:
        """Take all questions, and put them back."""
        questions = self.take()
        for question in questions.values():
            self.readiness.withdraw(question)
        return " ".join(sorted(questions))

    def answer(self, **answers: bool | str | None) -> None:
        """Take all questions and answer them: ``q1a`` gives the answer about job a in store 1."""
        questions = self.take()
        assert {f"q{name}" for name in questions} == set(answers)
        for name, question in questions.items():
            self.readiness.answer(question, answers[f"q{name}"])

    def ask_of(self, store: int) -> Ask:
        ask = self.readiness.compiled.filter_ask(gate(store))
        assert ask is not None
        return ask


def _number(question: Question) -> int:
    subject = question.ask.subject
    what = subject.accepts if isinstance(subject, Filtered) else subject.translate
    assert isinstance(what, Accepts | Translates)
    return what.number
