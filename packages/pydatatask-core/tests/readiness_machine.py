"""Readiness between stores that change and tell late, twice or not at all, and answers that are slow."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Literal, TypeVar

from pydatatask_core.pipeline.readiness import Question, Readiness
from pydatatask_core.repository.expression import Filtered, Leaf
from readiness_history import SPOTS, Event, History
from readiness_oracle import JOBS, STORES, Listing, Spot, Stores, Told, base_of, number_of, walk

__all__ = ["Machine", "play"]

T = TypeVar("T")

TELL_NOTHING = {"say_again", "overflow", "look_up", "read_page", "check_doubt"}


def play(history: History) -> None:
    """Have everything happen, settle it, then delete all keys.

    :raises AssertionError: if readiness was wrong at any time.
    """
    machine = Machine(history)
    for event in history.events:
        machine.happen(event)
    machine.settle()
    machine.agrees_with_the_stores()
    machine.empty()
    machine.settle()
    machine.agrees_with_the_stores()
    machine.has_nothing_left()


def picked(choice: Collection[T], number: int) -> T:
    return list(choice)[number % len(choice)]


class Queue:
    """A ready queue that remembers what came during one event."""

    def __init__(self) -> None:
        self.came: set[str] = set()
        self.cleared = False

    def append(self, job: str, /) -> None:
        self.came.add(job)

    def clear(self) -> None:
        self.came.clear()
        self.cleared = True


class Machine:
    """Drives readiness, and compares it after each event with what it was told."""

    def __init__(self, history: History) -> None:
        self.rules = rules = history.rules
        self.filters = sorted({part for one in rules for part in walk(one) if isinstance(part, Filtered)}, key=repr)
        self.stores = Stores()
        for store, job in sorted(history.filled):
            self.stores.put(store, job)
        self.told = Told(rules)
        self.queues = [Queue() for _ in rules]
        self.readiness = Readiness({f"task{number}": rule for number, rule in enumerate(rules)}, self.queues)
        self.leaves = [number_of(bits.leaf) for bits in self.readiness.leaves]
        self.number = {store: number for number, store in enumerate(self.leaves)}
        self.events: list[deque[tuple[Literal["added", "removed"], str]]] = [deque() for _ in range(STORES)]
        self.overflown = [False] * STORES
        self.listings: dict[int, Listing] = {}
        self.seen_versions: list[dict[str, int]] = [{} for _ in range(STORES)]
        self.doubts: list[Spot] = []
        self.checking: dict[Spot, bool] = {}
        self.questions: list[Question] = []
        self.read: dict[Question, bool | str | None] = {}
        self.loading = True
        self.was_ready: set[tuple[int, str]] = set()
        for store in self.leaves:
            if store not in history.unlisted:
                self.list_at_once(store)
        if not history.loading:
            self.rescan()

    def happen(self, event: Event) -> None:
        """Have an event happen, if it can."""
        pick, flag = event.pick, event.flag
        store, job = SPOTS[pick]
        match event.kind:
            case "put" | "publish" | "delete":
                self.write(event)
            case "say_again":
                self.events[store].append(("added" if job in self.stores.versions[store] else "removed", job))
            case "overflow":
                self.overflow(store, kept=pick % 3)
            case "deliver":
                self.deliver(store, most=1 + pick % 3, twice=flag)
            case "rescan":
                self.rescan()
            case "take":
                self.take()
            case "tell":
                self.tell(pick, job)
            case "look_up" | "answer" | "fail_to_answer":
                if self.questions:
                    self.treat(event, picked(self.questions, pick))
            case _:
                self.list_on(event)
        if event.kind not in TELL_NOTHING:
            self.is_as_told()

    def write(self, event: Event) -> None:
        store, job = SPOTS[event.pick]
        match event.kind:
            case "put":
                self.put(store, job, event.flag)
            case "delete":
                self.delete(store, job, event.flag)
            case _:
                self.publish(picked(self.filters, event.pick) if self.filters else None, store, job)

    def treat(self, event: Event, question: Question) -> None:
        match event.kind:
            case "look_up":
                self.look_up(question)
            case "answer":
                self.answer(question)
            case _:
                self.fail_to_answer(question, for_good=event.flag)

    def list_on(self, event: Event) -> None:
        store, job = SPOTS[event.pick]
        match event.kind:
            case "begin_listing" if store in self.number:
                self.list_at_once(store) if event.flag else self.begin_listing(store)
            case "read_page" if self.listings:
                self.read_page(picked(self.listings, store), {*JOBS} if event.flag else {job})
            case "tell_page" if able := [store for store, listing in self.listings.items() if listing.pages]:
                self.tell_page(picked(able, store))
            case "end_listing" if able := [store for store, listing in self.listings.items() if listing.complete]:
                self.end_listing(picked(able, store))
            case "check_doubt" if self.doubts:
                self.check_doubt(picked(self.doubts, event.pick))
            case "tell_check" if self.checking:
                self.tell_check(picked(self.checking, event.pick))
            case _:
                pass

    # What happens to the stores

    def put(self, store: int, job: str, announced: bool) -> None:
        self.stores.put(store, job)
        self.events[store].append(("added", job))
        if announced:
            self.tell_event(store, "added", job)

    def publish(self, subject: Filtered | None, store: int, job: str) -> None:
        """A value comes of which a filter's verdict is known before."""
        if subject is None or not isinstance(subject.base, Leaf):
            self.put(store, job, announced=True)
            return
        self.stores.put(number_of(subject.base), job)
        ask = self.readiness.compiled.filter_ask(subject)
        assert ask is not None
        answer = self.stores.answer(subject, job)
        assert isinstance(answer, bool)
        self.readiness.expect(ask, job, answer)
        self.events[number_of(subject.base)].append(("added", job))
        self.tell_event(number_of(subject.base), "added", job)
        self.told.answers[subject, job] = answer

    def delete(self, store: int, job: str, announced: bool) -> None:
        self.stores.versions[store].pop(job, None)
        self.events[store].append(("removed", job))
        if announced:
            self.tell_event(store, "removed", job)

    def overflow(self, store: int, kept: int) -> None:
        while len(self.events[store]) > kept:
            self.events[store].pop()
        self.overflown[store] = True

    # What readiness is told of the stores

    def deliver(self, store: int, most: int, twice: bool) -> None:
        events = self.events[store]
        for _ in range(min(most, len(events))):
            kind, job = events.popleft()
            self.tell_event(store, kind, job)
            if twice:
                self.tell_event(store, kind, job)

    def tell_event(self, store: int, kind: Literal["added", "removed"], job: str) -> None:
        if store not in self.number:
            return
        self.checking.pop((store, job), None)  # what is announced is newer
        listing = self.listings.get(store, Listing(checks=False))
        listing.doubtful.discard(job)
        if kind == "added":
            listing.gone.discard(job)
            listing.told.add(job)
            self.told.held[store].add(job)
            self.told.change(store, job)
            self.readiness.added(self.number[store], job)
        else:
            listing.gone.add(job)
            listing.told.discard(job)
            self.seen_versions[store].pop(job, None)
            if job in self.told.held[store]:
                self.told.held[store].discard(job)
                self.told.change(store, job)
            self.readiness.removed(self.number[store], job)

    def begin_listing(self, store: int) -> None:
        if self.overflown[store]:
            # What was not lost is told before the loss is.
            self.deliver(store, len(self.events[store]), twice=False)
        self.listings[store] = Listing(checks=bool(self.told.held[store]))
        self.overflown[store] = False
        self.readiness.begin_listing(self.number[store])

    def read_page(self, store: int, jobs: set[str]) -> None:
        listing = self.listings[store]
        versions = self.stores.versions[store]
        listing.pages.append([(job, versions[job]) for job in sorted(jobs & listing.unread) if job in versions])
        listing.unread -= jobs

    def tell_page(self, store: int) -> None:
        listing = self.listings[store]
        page = listing.pages.popleft()
        for job, version in page:
            # A value that was replaced unnoticed is added again.
            if job in self.told.held[store] and self.seen_versions[store].get(job) != version:
                self.tell_event(store, "added", job)
            self.seen_versions[store][job] = version
        for job, _ in page:
            if job in listing.gone:
                listing.doubtful.add(job)
            else:
                listing.told.add(job)
                if job not in self.told.held[store]:
                    self.told.held[store].add(job)
                    self.told.change(store, job)
        self.readiness.listed(self.number[store], (job for job, _ in page))

    def end_listing(self, store: int) -> None:
        listing = self.listings.pop(store)
        unseen = self.told.held[store] - listing.told if listing.checks else set()
        self.told.listed[store] = True
        doubts = self.readiness.end_listing(self.number[store])
        assert sorted(doubts) == sorted(listing.doubtful | unseen)
        self.doubts += [(store, job) for job in doubts]

    def list_at_once(self, store: int) -> None:
        self.begin_listing(store)
        self.read_page(store, {*JOBS})
        self.tell_page(store)
        self.end_listing(store)

    def check_doubt(self, doubt: Spot) -> None:
        self.doubts.remove(doubt)
        store, job = doubt
        self.checking[doubt] = job in self.stores.versions[store]

    def tell_check(self, doubt: Spot) -> None:
        store, job = doubt
        found = self.checking.pop(doubt)
        if found != self.readiness.holds(self.number[store], job):
            self.tell_event(store, "added" if found else "removed", job)

    def rescan(self) -> None:
        self.readiness.rescan()
        self.loading = False

    # Questions and answers

    def take(self) -> None:
        wanted = self.told.all_wanted()
        question = self.readiness.take_question()
        if question is None:
            if not self.loading:
                assert self.told.nothing_is_lost()
                if all(self.told.listed[store] for store in self.leaves):
                    assert wanted <= {*self.told.open, *self.told.given_up}, "a question was lost"
            return
        key = (question.ask.subject, question.job)
        assert key in wanted, "the answer cannot matter"
        assert key not in self.told.open
        assert key not in self.told.given_up
        self.told.open[key] = False
        self.questions.append(question)

    def look_up(self, question: Question) -> None:
        """Read what the answer stands on. It may change before the answer is told."""
        self.read.setdefault(question, self.stores.answer(question.ask.subject, question.job))

    def answer(self, question: Question) -> None:
        self.look_up(question)
        self.questions.remove(question)
        answer = self.read.pop(question)
        key = (question.ask.subject, question.job)
        if not self.told.open.pop(key):
            self.told.answers[key] = answer
        self.readiness.answer(question, answer)

    def fail_to_answer(self, question: Question, for_good: bool) -> None:
        self.questions.remove(question)
        self.read.pop(question, None)
        key = (question.ask.subject, question.job)
        outdated = self.told.open.pop(key)
        if for_good:
            self.readiness.give_up(question)
            if not outdated:
                self.told.given_up.add(key)
        else:
            self.readiness.withdraw(question)

    def tell(self, number: int, job: str) -> None:
        if not self.filters or self.loading:
            return
        subject = picked(self.filters, number)
        ask = self.readiness.compiled.filter_ask(subject)
        assert ask is not None
        answer = self.stores.answer(subject, job)
        assert isinstance(answer, bool)
        if self.told.truth(subject.base, job):
            self.told.answers[subject, job] = answer
            self.told.given_up.discard((subject, job))
            if (subject, job) in self.told.open:
                self.told.open[subject, job] = True
        self.readiness.tell(ask, job, answer)

    # What must hold

    def is_as_told(self) -> None:
        """A job is ready exactly if what was told says so, and whoever waits for it was told."""
        ready = {(n, job) for n in range(len(self.rules)) for job in JOBS if self.readiness.is_ready(n, job)}
        told = {(n, job) for n, rule in enumerate(self.rules) for job in JOBS if self.told.truth(rule, job)}
        if self.loading:
            assert ready <= told
        else:
            assert ready == told
            for task, job in ready:
                if (task, job) not in self.was_ready or self.queues[task].cleared:
                    assert job in self.queues[task].came, "a job became ready, and nobody was told"
        for number, store in enumerate(self.leaves):
            assert self.readiness.count(number) == len(self.told.held[store])
            assert {job for job in JOBS if self.readiness.holds(number, job)} == self.told.held[store]
        for queue in self.queues:
            queue.came.clear()
            queue.cleared = False
        self.was_ready = set() if self.loading else ready

    def settle(self) -> None:
        """All that happened is told, and all questions are answered."""
        self.rescan()
        self.is_as_told()
        while True:
            self.settle_stores()
            self.is_as_told()
            while self.questions:
                self.answer(self.questions[0])
                self.is_as_told()
            self.take()
            if not self.questions:
                given_up = self.told.all_wanted()
                assert given_up <= self.told.given_up
                for subject, job in given_up:
                    # It is asked again when its key changes.
                    for store, of in sorted(self.told.reach(base_of(subject), job)):
                        if of in self.stores.versions[store]:
                            self.put(store, of, announced=False)
                if not given_up:
                    return

    def settle_stores(self) -> None:
        for store in range(STORES):
            self.deliver(store, len(self.events[store]), twice=False)
        for store in self.leaves:
            if self.overflown[store] or not self.told.listed[store]:
                self.list_at_once(store)
        while self.listings:
            store = next(iter(self.listings))
            self.read_page(store, {*JOBS})
            while self.listings[store].pages:
                self.tell_page(store)
            self.end_listing(store)
        while self.doubts:
            self.check_doubt(self.doubts[0])
        while self.checking:
            self.tell_check(next(iter(self.checking)))

    def agrees_with_the_stores(self) -> None:
        for number, expression in enumerate(self.rules):
            for job in JOBS:
                assert self.readiness.is_ready(number, job) == self.stores.holds(expression, job)
        counts = [sum(self.stores.holds(expression, job) for job in JOBS) for expression in self.rules]
        assert self.readiness.ready_counts() == counts
        for number, store in enumerate(self.leaves):
            assert self.readiness.count(number) == len(self.stores.versions[store])

    def empty(self) -> None:
        """Delete all keys."""
        for store, job in SPOTS:
            self.delete(store, job, announced=False)

    def has_nothing_left(self) -> None:
        assert self.readiness._states == {}
        assert self.readiness._listings == {}
        assert self.readiness._asked == {}
        assert not self.readiness.questions
        for node in self.readiness.compiled.relations:
            assert node.translated.targets == {}
            assert node.translated.sources == {}
