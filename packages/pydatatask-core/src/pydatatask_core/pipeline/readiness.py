"""Which jobs each task may start, kept up to date one key event at a time.

Every job is in one of a few *states*: which stores hold it, and what has been found out about it. What a state means
for each task (may start, may not, something must be asked first) is worked out once per state and shared by all
jobs in it. So an event costs two look-ups, however many tasks there are, and a job costs one dictionary entry,
however many stores there are.

Truth has three values here. A store that has not been listed yet makes its absent keys unknown; so does a filter
that has not been asked. A task may start a job only if its expression is true, and a question is asked only if its
answer could still make it true: not while a store that was not listed yet stands in the way.

This module does no input or output: it is told events and answers, and tells what is ready and what to ask.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from ..repository.expression import KeyExpression
from .listing import Listing
from .truth import Ask, Compiled, Foundation, LeafBits, Need, State

__all__ = ["Question", "Readiness", "ReadyQueue"]


class Question(NamedTuple):
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
        """``rules`` gives each task's expression; ``queues`` takes each task's ready jobs, in the same order.

        ``questions`` takes what is to be asked, some of it in vain: :meth:`take_question` tells.
        """
        self.tasks = tuple(rules)
        self.compiled = Compiled(tuple(rules.values()))
        self.leaves: Sequence[LeafBits] = self.compiled.leaves
        self.queues: Sequence[ReadyQueue] = [deque[str]() for _ in rules] if queues is None else queues
        self.questions: deque[Question] = deque() if questions is None else questions
        self._states: dict[str, State] = {}
        self._empty = self.compiled.state(0)
        self._asked: dict[Question, _Asked] = {}
        self._loading = True
        self._counts = [0] * len(self.leaves)
        self._listings: dict[int, Listing] = {}

    def is_ready(self, task: int, job: str) -> bool:
        """Tell whether a task may start a job, by all that is known."""
        return bool(self._states.get(job, self._empty).ready >> task & 1)

    def holds(self, leaf: int, job: str) -> bool:
        """Tell whether a store is known to hold a job."""
        return bool(self._states.get(job, self._empty).mask & self.leaves[leaf].bit)

    def count(self, leaf: int) -> int:
        """Give the number of jobs a store is known to hold."""
        return self._counts[leaf]

    def states(self) -> Mapping[State, int]:
        """Count the jobs in each state. Costs a pass over all jobs."""
        return Counter(self._states.values())

    def ready_counts(self) -> list[int]:
        """Give each task's number of ready jobs. Costs a pass over all jobs."""
        states = self.states()
        return [sum(jobs for state, jobs in states.items() if state.ready >> n & 1) for n in range(len(self.tasks))]

    def ready_if(self, job: str, stores: Collection[str], accepted: Iterable[Ask]) -> list[str]:
        """Give the tasks that could start a job besides, if stores held it and filters accepted it. Changes nothing.

        :param stores: locations.
        """
        now = self._states.get(job, self._empty)
        mask = now.mask
        for bits in self.leaves:
            if bits.leaf.location in stores:
                mask |= bits.bit
        for ask in accepted:
            mask |= ask.known | ask.yes
        more = self.compiled.state(mask).ready & ~now.ready
        return [name for number, name in enumerate(self.tasks) if more >> number & 1]

    def added(self, leaf: int, job: str) -> None:
        """A store published a value for a job, new or again."""
        if leaf in self._listings:
            self._listings[leaf].added(job)
        self._add(leaf, job)

    def removed(self, leaf: int, job: str) -> None:
        """A store no longer holds a job."""
        if leaf in self._listings:
            self._listings[leaf].removed(job)
        state = self._states.get(job, self._empty)
        bits = self.leaves[leaf]
        if state.mask & bits.bit:
            self._counts[leaf] -= 1
            for ask in bits.asks:
                ask.translated.put(job, None)
            self._move(job, state, self.compiled.state(state.mask & ~bits.bit & ~bits.stale))
            self._outdate(bits, job)

    def take_question(self) -> Question | None:
        """Give the next question that still matters. It is open until it is answered, withdrawn or given up."""
        while self.questions:
            question = self.questions.popleft()
            if question not in self._asked and self._is_needed(question.ask, question.job):
                self._asked[question] = _Asked.OPEN
                return question
        return None

    def answer(self, question: Question, answer: bool | str | None) -> None:
        """Answer an open question: a filter's verdict, or a job's translation.

        If the key changed since the question was taken, it is asked again. A question that is not open is ignored.
        """
        if self._close(question):
            self._learn(question.ask, question.job, answer)

    def withdraw(self, question: Question) -> None:
        """Put an open question back: it could not be answered now."""
        if self._close(question):
            self.questions.append(question)

    def give_up(self, question: Question) -> None:
        """Leave an open question unanswered until its key changes: as it stands, it cannot be answered."""
        if self._close(question):
            self._asked[question] = _Asked.GIVEN_UP

    def expect(self, ask: Ask, job: str, accepted: bool | None) -> None:
        """Note a filter's verdict on the value that its store announces next for a job; None takes that back.

        So nothing is asked when it comes. A filter of more than one store is not spared the question.
        """
        if ask.leaf is None:
            return
        if accepted is None:
            ask.leaf.expected.pop(job, None)
        else:
            ask.leaf.expected[job] = ask.bits(accepted)

    def is_given_up(self, question: Question) -> bool:
        """Tell whether a question was left unanswered, and its key has not changed since."""
        return self._asked.get(question) is _Asked.GIVEN_UP

    def tell(self, ask: Ask, job: str, accepted: bool) -> None:
        """Tell a filter's verdict that is known without asking, because we made it so ourselves.

        It is kept only if the filter's base is known to hold the job. An answer that is under way is then of no use,
        as it may be older.
        """
        if ask.leaf is not None:
            ask.leaf.expected.pop(job, None)
        mask = self._states.get(job, self._empty).mask
        if mask & (ask.known | ask.yes) == ask.bits(accepted):
            return
        if self.compiled.verdict(ask.keys, mask).truth:
            self._reopen(Question(ask, job))
            self._learn(ask, job, accepted)

    def begin_listing(self, leaf: int) -> None:
        """A listing of a store begins. A listing of it that is under way is forgotten."""
        self._listings[leaf] = Listing(checks=self._counts[leaf] > 0)

    def listed(self, leaf: int, jobs: Iterable[str]) -> None:
        """The listing found these jobs."""
        found = self._listings[leaf].find(jobs)
        bit = self.leaves[leaf].bit
        if not self._loading:
            for job in found:
                if not self._states.get(job, self._empty).mask & bit:
                    self._add(leaf, job)
            return
        # Millions of keys come this way, most of them in the state of the one before.
        states, empty, new = self._states, self._empty, 0
        before, after = empty, self.compiled.after_adding(empty, leaf)
        for job in found:
            state = states.get(job, empty)
            if state is not before:
                if state.mask & bit:
                    continue
                before, after = state, self.compiled.after_adding(state, leaf)
            states[job] = after
            new += 1
        self._counts[leaf] += new

    def end_listing(self, leaf: int) -> list[str]:
        """The listing is complete. Gives the jobs whose membership is in doubt: ask the store for each, and tell.

        What is announced of such a job after this call is newer than what the store was asked before.
        """
        listing = self._listings.pop(leaf)
        bit = self.leaves[leaf].bit
        doubtful = list(listing.doubtful)
        if listing.checks and len(listing.seen) != self._counts[leaf]:
            doubtful += [job for job, state in self._states.items() if state.mask & bit and job not in listing.seen]
        if not self.leaves[leaf].listed:
            self.compiled.set_listed(leaf)
            if not self._loading:
                self.rescan()
        return doubtful

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
            if state.ready or state.needs:
                self._tell_difference(job, self._empty, state)
        for translated in {node.ask: node.translated for node in self.compiled.relations}.values():
            for target in translated.sources:
                self._spread(target, self._empty)

    def recheck(self, task: int, job: str) -> None:
        """Queue a job again if the task may still start it: its run ended without changing that."""
        if self.is_ready(task, job):
            self.queues[task].append(job)

    def _add(self, leaf: int, job: str) -> None:
        state = self._states.get(job, self._empty)
        bits = self.leaves[leaf]
        if bits.expected and (learnt := bits.expected.pop(job, 0)):
            after = self.compiled.state(state.mask & ~bits.stale | bits.bit | learnt)
        else:
            after = bits.after_adding.get(state) or self.compiled.after_adding(state, leaf)
        if after is not state:
            if not state.mask & bits.bit:
                self._counts[leaf] += 1
            self._move(job, state, after)
        if self._asked or bits.relations:
            self._outdate(bits, job)

    def _move(self, job: str, before: State, after: State) -> None:
        if after is before:
            return
        if after.mask:
            self._states[job] = after
        else:
            self._states.pop(job, None)
        if self._loading:
            return
        if after.ready or after.needs:
            self._tell_difference(job, before, after)
        if after.bases != before.bases:
            self._spread(job, before)

    def _tell_difference(self, job: str, before: State, after: State) -> None:
        fresh = after.ready & ~before.ready
        while fresh:
            task = fresh.bit_length() - 1
            fresh ^= 1 << task
            self.queues[task].append(job)
        for need in after.needs:
            if need not in before.needs:
                self._ask(need, job)

    def _ask(self, need: Need, job: str) -> None:
        """Queue what is needed of a job: a question, or those about the job it translates to."""
        if isinstance(need, Ask):
            self.questions.append(Question(need, job))
        else:
            target = need.translated.targets[job]
            for deeper in self._states.get(target, self._empty).bases[need.number].needs:
                self._ask(deeper, target)

    def _is_needed(self, need: Need, job: str) -> bool:
        """Tell whether something is needed of a job, for itself or for jobs that translate to it."""
        state = self._states.get(job, self._empty)
        return need in state.needs or any(
            need in base.needs and any(self._is_needed(node, source) for source in node.translated.sources.get(job, ()))
            for node, base in zip(self.compiled.relations, state.bases, strict=True)
        )

    def _learn(self, ask: Ask, job: str, answer: bool | str | None) -> None:
        state = self._states.get(job, self._empty)
        mask = state.mask | ask.known
        if isinstance(answer, bool):
            mask = mask & ~ask.yes | ask.bits(answer)
        else:
            ask.translated.put(job, answer)
            for node in self.compiled.relations:
                if node.ask is ask:
                    target = self._states.get(answer, self._empty) if answer is not None else None
                    mask = node.with_value(mask, target.bases[node.number].truth if target is not None else False)
        self._move(job, state, self.compiled.state(mask))

    def _spread(self, target: str, before: State) -> None:
        """A job that others translate to changed: change them too, and ask what they need of it."""
        for node in self.compiled.relations:
            sources = node.translated.sources.get(target)
            if sources is None:
                continue
            for need in self._states.get(target, self._empty).bases[node.number].needs:
                if need not in before.bases[node.number].needs:
                    self._ask(need, target)
            for job in sources:
                source = self._states.get(job, self._empty)
                # A job may translate to itself, so its state may change on the way.
                value = self._states.get(target, self._empty).bases[node.number].truth
                self._move(job, source, self.compiled.state(node.with_value(source.mask, value)))

    def _outdate(self, changed: Foundation, job: str) -> None:
        """Answers that are being fetched for this job may be of the earlier value; so are those of its sources."""
        for ask in changed.asks:
            self._reopen(Question(ask, job))
        for node in changed.relations:
            for source in node.translated.sources.get(job, ()):
                state = self._states.get(source, self._empty)
                if state.mask & node.ask.known:
                    self._move(source, state, self.compiled.state(state.mask & ~node.stale))
                    self._outdate(node, source)

    def _close(self, question: Question) -> bool:
        """Close an open question. One whose key changed meanwhile is to be asked again, whatever became of it."""
        asked = self._asked.get(question)
        if asked is None or asked is _Asked.GIVEN_UP:
            return False
        del self._asked[question]
        if asked is _Asked.OUTDATED:
            self.questions.append(question)
        return asked is _Asked.OPEN

    def _reopen(self, question: Question) -> None:
        """Have a question asked again whose answer is under way or was given up."""
        asked = self._asked.get(question)
        if asked is _Asked.OPEN:
            self._asked[question] = _Asked.OUTDATED
        elif asked is _Asked.GIVEN_UP:
            del self._asked[question]
            self.questions.append(question)


class _Asked(Enum):
    OPEN = "open"
    OUTDATED = "outdated"
    GIVEN_UP = "given up"
