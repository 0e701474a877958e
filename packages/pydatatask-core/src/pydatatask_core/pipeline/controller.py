"""The only loop: it learns what changed, starts what is ready, and follows what runs until it has ended.

Nothing here waits for a poll where an event can be had. Stores tell readiness of their keys (:mod:`.feed`),
readiness puts ready jobs into queues, and workers take them out (:mod:`.lane`). The controller opens these parts,
sees when nothing is left to do, and closes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from functools import partial

from attrs import define

from ..repository.changes import ChangeSource
from ..repository.expression import leaves
from ..task.base import Task, success_filter
from ..task.run import Again, Dropped, Ended, Left, RunTask
from .adoption import Adoption
from .events import Event, Observer, RoundDone
from .feed import Feed, Polling
from .gates import Gates, open_lane
from .guests import Guest
from .inquiry import Inquiry, Questions
from .lane import Lane, Turn
from .opening import Opening
from .queues import JobQueue, Priority, queue_for
from .quota_lane import QuotaLane
from .readiness import Readiness
from .truth import Ask

__all__ = ["Controller", "TaskProgress"]

_log = logging.getLogger("pydatatask.pipeline")

GUEST_ROUND = 1.0
"""Seconds between two looks after the tasks of users' own classes."""


@define(kw_only=True)
class TaskProgress:
    """What one task has done in this run, so far."""

    name: str
    live: int
    waiting: int
    """Jobs whose retry is due later."""
    launched: int
    succeeded: int
    failed: int
    could_not_start: int


class Controller:
    """Drives tasks until nothing is left to do."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        priority: Callable[[str, str], int] | None = None,
        observers: Iterable[Observer] = (),
        polling: Polling | None = None,
        fail_fast: bool = False,
        leave: bool = False,
        patience: float = 30.0,
        unopened: MutableMapping[str, Opening] | None = None,
    ) -> None:
        """:param priority: of a task's name and a job; ready jobs of a higher one start first.
        :param fail_fast: start nothing more after the first failure.
        :param leave: start runs on other sites, and do not wait for their ends.
        :param patience: seconds to wait for an unreachable store when nothing else is left to do.
        :param unopened: stores, by location, that do not answer yet. Their tasks start nothing until they are open;
            those that come to be open are taken out.
        """
        self._observers = list(observers)
        self._fail_fast = fail_fast
        self._changed = asyncio.Event()
        self._checks: set[asyncio.Task[None]] = set()
        self._looks_due: set[Feed] = set()
        self._patience = patience
        self._leave = leave
        self.gates = Gates({} if unopened is None else unopened, self._emit, self._changed.set)
        self._launch_once = False
        self._guest_rounds = 0
        self.stopping = False
        """Whether no more jobs are started."""
        priorities = [_priority(task, priority) for task in tasks]
        self._priorities = [given for given in priorities if isinstance(given, Priority)]
        queues = [queue_for(given) for given in priorities]
        questions = Questions()
        self.readiness = Readiness({task.name: task.ready.expression for task in tasks}, queues, questions)
        self.feeds = list(self._make_feeds(polling or Polling()))
        self._inquiry = Inquiry(self.readiness, questions, self._emit, self._changed.set)
        self.lanes: list[Lane] = []
        self.guests: list[Guest] = []
        self._asks: dict[str, Ask | None] = {}
        self._outputs: dict[str, list[Feed]] = {}
        self._unannounced: dict[str, set[Feed]] = {}
        self._adoption = Adoption(self._emit)
        turn = Turn()
        for number, (task, queue) in enumerate(zip(tasks, queues, strict=True)):
            self._take_on(number, task, queue, turn)

    def _take_on(self, number: int, task: Task, queue: JobQueue, turn: Turn) -> None:
        self._outputs[task.name] = self._feeds_of(task)
        self._unannounced[task.name] = self._unannounced_by(task)
        self.gates.add(task)
        if isinstance(task, RunTask):
            emit = self._emit if self._observers else None
            common = (task, number, self.readiness, queue, turn, emit, self._ended, self._changed.set)
            manager = task.resource_manager
            lane = Lane(*common) if manager is None else QuotaLane(manager, *common)
            lane.held = task.disabled or self.gates.closed(task)
            self.lanes.append(lane)
            self._asks[task.name] = self._success_ask(task)
        else:
            self.guests.append(Guest(task, number, self.readiness, queue, self._emit, self._refresh))

    def progress(self) -> list[TaskProgress]:
        """Tell what each task has done so far."""
        return [
            TaskProgress(
                name=lane.task.name,
                live=len(lane.running),
                waiting=len(lane.waiting),
                launched=lane.launched,
                succeeded=lane.succeeded,
                failed=lane.failed,
                could_not_start=len(lane.set_aside),
            )
            for lane in self.lanes
        ] + [
            TaskProgress(
                name=guest.task.name,
                live=int(guest.live),
                waiting=0,
                launched=guest.launched,
                succeeded=0,
                failed=0,
                could_not_start=len(guest.failures),
            )
            for guest in self.guests
        ]

    def problems(self) -> list[Exception]:
        """Give what keeps jobs from starting in this run: values that cannot be read, launches that failed."""
        aside = [error for lane in self.lanes for error in lane.set_aside.values()]
        guests = [error for guest in self.guests for error in guest.failures.values()]
        unordered = [given.failure for given in self._priorities if given.failure is not None]
        return [*aside, *guests, *unordered, *self._inquiry.failures.values()]

    def unreachable(self) -> list[Exception]:
        """Give the stores that cannot be asked now, each by its error."""
        errors = [*self.gates.errors(), *self._adoption.errors()]
        errors += [feed.error for feed in self.feeds if feed.error is not None]
        return errors if self._inquiry.obstacle is None else [*errors, self._inquiry.obstacle]

    def undecided(self, job: str) -> Exception | None:
        """Tell why it cannot be decided whether a job is ready, if that is so."""
        return next((error for question, error in self._inquiry.failures.items() if question.job == job), None)

    def unseen(self, task: Task) -> Exception | None:
        """Tell why a task's site cannot be seen, if it cannot: until then nothing of the task starts."""
        return self._adoption.lacking(task)

    def stop(self) -> None:
        """Start nothing more, and return from :meth:`run` when what runs in this process has ended."""
        self.stopping = True
        for lane in self.lanes:
            lane.hold()
            lane.task.stop()
        self._changed.set()

    async def run(self, *, forever: bool = False, launch_once: bool = False) -> None:
        """Start what is ready until nothing is left to do, or until cancelled if ``forever``.

        Returns when nothing is live, nothing is ready that could start, no retry waits, and each store that cannot
        notify was listed after the last run ended.

        A cancellation cancels what runs in this process; it leaves no records, and starts again next time.

        :param launch_once: start only what is ready at the first look.
        :raises SiteCredentialsError: if a site refuses us when its runs are looked for. No job was started then.
        :raises StoreUnavailableError: if a store stays unreachable and nothing else is left to do.
        """
        self._launch_once = launch_once
        background = [asyncio.ensure_future(feed.run()) for feed in self.feeds]
        background += self.gates.follow(self.feeds, self._thaw)
        try:
            await self._learn(to_the_end=launch_once)
            background += await self._adoption.begin(self.lanes, self._leave, self._thaw)
            for lane in self.lanes:
                ask = self._asks[lane.task.name]
                lane.task.expect = None if ask is None else partial(self.readiness.expect, ask)
                if not lane.held:
                    await open_lane(lane, launch_once)
            if self.guests:
                background.append(asyncio.ensure_future(self._tend_guests()))
                await self._sleep()
            await self._until_done(forever)
        finally:
            await self._close(background)
            for lane in self.lanes:
                lane.task.expect = None

    async def look(self) -> None:
        """Learn which jobs are ready, and start nothing. Readiness keeps what was learnt.

        :raises StoreUnavailableError: if what decides whether jobs are ready cannot be asked. A store that cannot be
            listed is told by :meth:`unreachable`.
        """
        try:
            await asyncio.gather(*(feed.list_once() for feed in self.feeds))
            await self._learn(to_the_end=True)
        finally:
            obstacle = self._inquiry.obstacle
            await self._close([])
        if obstacle is not None:
            raise obstacle

    async def _learn(self, to_the_end: bool) -> None:
        """List every store, and answer what must be asked, ``to_the_end`` or as it goes."""
        for feed in self.feeds:
            await feed.wait_settled()
        self.readiness.rescan()
        self._inquiry.open()
        while to_the_end and self._inquiry.busy:
            await self._sleep()

    async def _thaw(self, name: str) -> None:
        """Let a task start jobs, if all its stores are open and its site was seen."""
        for lane in self.lanes:
            task = lane.task
            if task.name == name and not (task.disabled or self.stopping or self._waits(task)):
                lane.held = False
                await open_lane(lane, self._launch_once)

    def _waits(self, task: RunTask) -> bool:
        return self.gates.closed(task) or self._adoption.lacking(task) is not None

    async def _until_done(self, forever: bool) -> None:
        gives_up: float | None = None
        while True:
            self._raise_crash()
            left: float | None = None
            if self._busy():
                gives_up = None
            else:
                self._emit(RoundDone())
                unreachable = self.unreachable()
                if not forever and unreachable and not self.stopping:
                    time = asyncio.get_running_loop().time()
                    # From the moment on in which nothing else is left to do.
                    gives_up = time + self._patience if gives_up is None else gives_up
                    left = gives_up - time
                    if left <= 0:
                        raise unreachable[0]
                elif self.stopping:
                    return
                elif not forever:
                    if not await self._found_more():
                        return
                    continue
            await self._sleep(left)

    async def _sleep(self, at_most: float | None = None) -> None:
        """Wait until something changed, or for so many seconds."""
        try:
            async with asyncio.timeout(at_most):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    def _busy(self) -> bool:
        """Whether something is under way that may change what is left to do."""
        return bool(
            any(lane.busy for lane in self.lanes)
            or self._checks
            or self.gates.busy
            or (not self.stopping and self._inquiry.busy)
            or any(guest.busy for guest in self.guests)
            or any(self._may_launch(guest) and guest.has_more for guest in self.guests)
        )

    async def _found_more(self) -> bool:
        """Look once more at the stores that somebody may have written to unannounced since the last look."""
        due, self._looks_due = self._looks_due, set()
        await asyncio.gather(*(feed.look() for feed in due))
        return bool(due)

    def _may_launch(self, guest: Guest) -> bool:
        return (
            not self.stopping and not (self._launch_once and self._guest_rounds) and not self.gates.closed(guest.task)
        )

    def _raise_crash(self) -> None:
        for lane in self.lanes:
            if lane.crash is not None:
                raise lane.crash

    def _ended(self, lane: Lane, job: str, end: Ended | Again | Dropped | Left) -> None:
        """Tell readiness what a run's end means, before anybody asks."""
        if unannounced := self._unannounced[lane.task.name]:
            self._looks_due |= unannounced
        if isinstance(end, Ended):
            ask = self._asks[lane.task.name]
            if ask is not None and lane.task.metadata:
                self.readiness.tell(ask, job, end.record.succeeded)
            for feed in self._outputs[lane.task.name]:
                self._check_output(feed, job)
            if self._fail_fast and not end.record.succeeded and not lane.task.failure_ok:
                self.stop()

    def _check_output(self, feed: Feed, job: str) -> None:
        """Ask for a key that nobody announced: another process may have written it."""
        if not self.readiness.holds(feed.number, job):
            check = asyncio.ensure_future(self._check(feed, job))
            self._checks.add(check)
            check.add_done_callback(self._checked)

    async def _check(self, feed: Feed, job: str) -> None:
        try:
            await feed.check(job)
        except Exception as error:  # noqa: BLE001  # one store's trouble must not stop the others
            _log.warning("Whether job %s was written cannot be asked now; the next listing tells. %s", job, error)

    def _checked(self, check: asyncio.Task[None]) -> None:
        self._checks.discard(check)
        self._changed.set()

    async def _refresh(self, task: Task, job: str) -> None:
        self._looks_due |= self._unannounced[task.name]
        for feed in self._outputs[task.name]:
            await self._check(feed, job)

    async def _tend_guests(self) -> None:
        while True:
            for guest in self.guests:
                await guest.round(launch=self._may_launch(guest))
            self._guest_rounds += 1
            self._changed.set()
            await asyncio.sleep(GUEST_ROUND)

    async def _close(self, background: Sequence[asyncio.Task[None]]) -> None:
        for task in background:
            task.cancel()
        await self._inquiry.close()
        for lane in self.lanes:
            # All of them first: what one gives back of a quota must not start anything in another.
            lane.hold()
        for lane in self.lanes:
            await lane.cancel()
            await lane.task.released()
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*background, *self._checks, return_exceptions=True)

    def _make_feeds(self, polling: Polling) -> Iterator[Feed]:
        for number in range(len(self.readiness.leaves)):
            feed = Feed(self.readiness, number, polling, self._emit, self._changed.set)
            if feed.location in self.gates.unopened:
                feed.hold_back()
            yield feed

    def _feeds_of(self, task: Task) -> list[Feed]:
        """Give the stores that a run of the task may fill, unless all their changes are announced."""
        written = [link.repo for link in task.links.values() if link.is_output or link.is_status]
        stores = {leaf.location for repo in written for leaf in leaves(repo.expression)}
        return [
            feed for feed in self.feeds if feed.location in stores and feed.repo.change_source is not ChangeSource.LOCAL
        ]

    def _unannounced_by(self, task: Task) -> set[Feed]:
        """Give the stores in which a run of the task may leave keys that nobody announces in time."""
        polled = {feed for feed in self.feeds if feed.repo.change_source is ChangeSource.POLLED}
        elsewhere = not isinstance(task, RunTask) or task.elsewhere
        return polled.union(self._outputs[task.name]) if elsewhere else polled

    def _success_ask(self, task: RunTask) -> Ask | None:
        return None if task.done is None else self.readiness.compiled.filter_ask(success_filter(task.done))

    def _emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)


def _priority(task: Task, priority: Callable[[str, str], int] | None) -> int | Priority:
    if priority is not None:
        return Priority(task.name, partial(priority, task.name))
    own = task.priority if isinstance(task, RunTask) else 0
    return Priority(task.name, own) if callable(own) else own
