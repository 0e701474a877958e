"""Which jobs each task may start, kept up to date one key event at a time.

Every job is in one of a few *states*: which stores hold it, and what has been found out about it. What a state means
for each task (may start, may not, something must be asked first) is worked out once per state and shared by all
jobs in it. So an event costs two look-ups, however many tasks there are, and a job costs one dictionary entry,
however many stores there are.

Truth has three values here. A store that has not been listed yet makes its absent keys unknown; so does a filter
that has not been asked. A task may start a job only if its expression is true, and a question is asked only if its
answer could still matter, that is, if the expression is unknown.

This module does no input or output: it is told events and answers, and tells what is ready and what to ask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from ..repository.expression import KeyExpression
from .truth import Ask, Compiled, State, compile_rules

__all__ = ["Question", "Readiness", "ReadyQueue"]


@frozen
class Question:
    """Something to find out about a job: whether a filter accepts it, or what it translates to."""

    ask: Ask
    job: str


class ReadyQueue(Protocol):
    """Takes the jobs that become ready for one task. A job may come twice, and may be stale when it is taken out."""

    def append(self, job: str, /) -> None:
        """Take a job in."""
        ...

    def clear(self) -> None:
        """Forget all jobs."""
        ...


class Readiness:
    """The ready jobs of tasks, from their ready expressions and the events of the stores behind them."""

    def __init__(
        self,
        rules: Mapping[str, KeyExpression],
        queues: Sequence[ReadyQueue] | None = None,
        questions: deque[Question] | None = None,
    ) -> None:
        """``rules`` gives each task's expression; ``queues`` takes each task's ready jobs, in the same order, and
        ``questions`` what must be asked.
        """
        self.tasks = tuple(rules)
        self.compiled: Compiled = compile_rules(tuple(rules.values()))
        self.leaves = self.compiled.leaves
        self.queues: Sequence[ReadyQueue] = [deque[str]() for _ in rules] if queues is None else queues
        self.questions: deque[Question] = deque() if questions is None else questions
        self._states: dict[str, State] = {}
        self._empty = self.compiled.state(0)
        self._asked: dict[Question, bool] = {}
        self._given_up: set[Question] = set()
        self._loading = True
        self._counts = [0] * len(self.leaves)
        self._listings: dict[int, _Listing] = {}

    def is_ready(self, task: int, job: str) -> bool:
        """Tell whether a task may start a job, by all that is known."""
        return task in self._states.get(job, self._empty).ready

    def holds(self, leaf: int, job: str) -> bool:
        """Tell whether a store is known to hold a job."""
        return bool(self._states.get(job, self._empty).mask & self.leaves[leaf].bit)

    def count(self, leaf: int) -> int:
        """Give the number of jobs a store is known to hold."""
        return self._counts[leaf]

    def ready_counts(self) -> list[int]:
        """Give each task's number of ready jobs. Costs a pass over all jobs."""
        counts = [0] * len(self.tasks)
        for state in self._states.values():
            for task in state.ready:
                counts[task] += 1
        return counts

    def added(self, leaf: int, job: str) -> None:
        """A store published a value for a job, new or again."""
        self._add(leaf, job)
        if self._listings:
            listing = self._listings.get(leaf)
            if listing is not None:
                listing.gone.discard(job)
                listing.doubtful.discard(job)
                listing.seen.add(job)

    def removed(self, leaf: int, job: str) -> None:
        """A store no longer holds a job."""
        listing = self._listings.get(leaf)
        if listing is not None:
            listing.seen.discard(job)
            listing.gone.add(job)
        state = self._states.get(job, self._empty)
        bit = self.leaves[leaf].bit
        if state.mask & bit:
            self._counts[leaf] -= 1
            for ask in self.leaves[leaf].asks:
                ask.translated.put(job, None)
            self._move(job, state, self.compiled.state(state.mask & ~bit & ~self.leaves[leaf].stale))
            self._outdate(leaf, job)

    def take_question(self) -> Question | None:
        """Give the next question that still matters. It is then open until it is answered."""
        while self.questions:
            question = self.questions.popleft()
            if question not in self._asked and self._matters(question):
                self._asked[question] = False
                return question
        return None

    def answer(self, question: Question, answer: bool | str | None) -> None:
        """Answer an open question: a filter's verdict, or a job's translation.

        If the key changed since the question was taken, it is asked again. A question that is not open is ignored.
        """
        outdated = self._asked.pop(question, None)
        if outdated:
            self.questions.append(question)
        elif outdated is not None:
            self._learn(question.ask, question.job, answer)

    def withdraw(self, question: Question) -> None:
        """Put an open question back: it could not be answered now."""
        if self._asked.pop(question, None) is not None:
            self.questions.append(question)

    def give_up(self, question: Question) -> None:
        """An open question cannot be answered. It is asked again when its key changes."""
        if self._asked.pop(question, None):
            self.questions.append(question)
        else:
            self._given_up.add(question)

    def tell(self, ask: Ask, job: str, answer: bool | str | None) -> None:
        """Tell an answer that is known without asking, because we made it so ourselves."""
        self._asked.pop(Question(ask, job), None)
        self._learn(ask, job, answer)

    def begin_listing(self, leaf: int) -> None:
        """A listing of a store begins. A listing of it that is under way is forgotten."""
        self._listings[leaf] = _Listing()

    def listed(self, leaf: int, jobs: Iterable[str]) -> None:
        """The listing found these jobs."""
        listing = self._listings[leaf]
        bit = self.leaves[leaf].bit
        relisting = self.leaves[leaf].listed
        for job in jobs:
            if job in listing.gone:
                listing.doubtful.add(job)
                continue
            if relisting:
                listing.seen.add(job)
            if not self._states.get(job, self._empty).mask & bit:
                self._add(leaf, job)

    def end_listing(self, leaf: int) -> list[str]:
        """The listing is complete. Gives the jobs whose membership is in doubt: ask the store for each, and tell."""
        listing = self._listings.pop(leaf)
        doubtful = listing.doubtful
        bit = self.leaves[leaf].bit
        if not self.leaves[leaf].listed:
            self.compiled.set_listed(leaf, True)
            if not self._loading:
                self.rescan()
        elif len(listing.seen) != self._counts[leaf]:
            doubtful.update(job for job, state in self._states.items() if state.mask & bit and job not in listing.seen)
        return list(doubtful)

    def rescan(self) -> None:
        """Decide every job anew. Ends loading: until the first call, nothing becomes ready."""
        self._loading = False
        self._empty = self.compiled.state(0)
        for queue in self.queues:
            queue.clear()
        self.questions.clear()
        renew = self.compiled.state
        for job, old in self._states.items():
            # Same keys, so the dictionary may be written while it is walked.
            self._states[job] = state = renew(old.mask)
            self._tell_difference(job, self._empty, state)
        for node in self.compiled.relations:
            for target in list(node.translated.sources):
                self._spread(target, self._states.get(target, self._empty))

    def recheck(self, task: int, job: str) -> None:
        """Queue a job again if the task may still start it: its run ended without changing that."""
        if self.is_ready(task, job):
            self.queues[task].append(job)

    def _add(self, leaf: int, job: str) -> None:
        state = self._states.get(job, self._empty)
        after = state.added.get(leaf)
        if after is None:
            after = self.compiled.after_adding(state, leaf)
        bits = self.leaves[leaf]
        if after is not state:
            if not state.mask & bits.bit:
                self._counts[leaf] += 1
            self._move(job, state, after)
        if bits.asks or bits.relations:
            self._outdate(leaf, job)

    def _move(self, job: str, before: State, after: State) -> None:
        if after is before:
            return
        if after.mask:
            self._states[job] = after
        else:
            self._states.pop(job, None)
        if self._loading:
            return
        self._tell_difference(job, before, after)
        if self.compiled.relations and (after.bases, after.base_asks) != (before.bases, before.base_asks):
            self._spread(job, after)

    def _matters(self, question: Question) -> bool:
        state = self._states.get(question.job, self._empty)
        return question.ask in state.asks or any(
            question.ask in asks and question.job in node.translated.sources
            for node, asks in zip(self.compiled.relations, state.base_asks, strict=True)
        )

    def _tell_difference(self, job: str, before: State, after: State) -> None:
        for task in after.ready:
            if task not in before.ready:
                self.queues[task].append(job)
        for ask in after.asks:
            if ask not in before.asks:
                self.questions.append(Question(ask, job))

    def _learn(self, ask: Ask, job: str, answer: bool | str | None) -> None:
        if not isinstance(answer, bool):
            self._translate(ask, job, answer)
        state = self._states.get(job, self._empty)
        mask = state.mask | ask.known
        self._move(job, state, self.compiled.state(mask | ask.yes if answer else mask & ~ask.yes))

    def _translate(self, ask: Ask, job: str, target: str | None) -> None:
        ask.translated.put(job, target)
        state = self._states.get(job, self._empty)
        bases = self._states.get(target, self._empty).bases if target is not None else ()
        mask = state.mask
        for number, node in enumerate(self.compiled.relations):
            if node.translated is ask.translated:
                mask = node.with_value(mask, bases[number] if bases else False)
        self._move(job, state, self.compiled.state(mask))
        if target is not None:
            self._ask_base(target)

    def _spread(self, target: str, state: State) -> None:
        """A job that others translate to changed: change them too."""
        for number, node in enumerate(self.compiled.relations):
            for job in tuple(node.translated.sources.get(target, ())):
                source = self._states.get(job, self._empty)
                self._move(job, source, self.compiled.state(node.with_value(source.mask, state.bases[number])))
        self._ask_base(target)

    def _ask_base(self, target: str) -> None:
        state = self._states.get(target, self._empty)
        for number, asks in enumerate(state.base_asks):
            if asks and target in self.compiled.relations[number].translated.sources:
                for ask in asks:
                    self.questions.append(Question(ask, target))

    def _outdate(self, leaf: int, job: str) -> None:
        """Answers that are being fetched for this job may be of the earlier value."""
        for ask in self.leaves[leaf].asks:
            self._outdate_answer(Question(ask, job))
        for node in self.leaves[leaf].relations:
            for source in tuple(node.translated.sources.get(job, ())):
                state = self._states.get(source, self._empty)
                for ask in node.asks:
                    self._outdate_answer(Question(ask, source))
                self._move(source, state, self.compiled.state(state.mask & ~node.stale))

    def _outdate_answer(self, question: Question) -> None:
        if question in self._asked:
            self._asked[question] = True
        elif question in self._given_up:
            self._given_up.discard(question)
            self.questions.append(question)


class _Listing:
    """What became known while a store was being listed."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.gone: set[str] = set()
        self.doubtful: set[str] = set()
