"""Repositories are opened each for itself, so that one that cannot be reached keeps only its own tasks waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import define

from ..errors import StoreCredentialsError, StorePermissionError, StoreUnavailableError
from ..repository.expression import Leaf, leaves
from ..repository.protocols import Repository
from ..task.base import Task
from .events import Event, StoreUnreachable

__all__ = ["Opening", "give_up", "is_outage", "open_all", "stores_of"]

_log = logging.getLogger("pydatatask.pipeline")

GRACE = 5.0
"""Seconds after which the tasks whose stores are open need not wait any longer for the others."""

LONGEST = 10.0
"""Seconds between two attempts at most: a run that has nothing else to do gives up after half a minute."""


def is_outage(error: BaseException | None) -> bool:
    """Tell whether an error may pass by itself: the store does not answer. To be refused is a mistake to be told."""
    refusals = (StoreCredentialsError, StorePermissionError)
    return isinstance(error, StoreUnavailableError) and not isinstance(error, refusals)


def stores_of(task: Task) -> set[str]:
    """Give the locations of all stores that a task's links and its ready rule stand on."""
    expressions = [*(link.repo.expression for link in task.links.values()), task.ready.expression]
    linked = {link.repo.location for link in task.links.values()}
    return linked.union(*({leaf.location for leaf in leaves(expression)} for expression in expressions))


@define(eq=False)
class Opening:
    """A store that could not be opened yet."""

    location: str
    repo: Repository
    error: Exception
    """Why not, when it was tried last."""
    attempt: asyncio.Future[None] | None = None
    """The first attempt, while it goes on."""

    async def settle(self) -> bool:
        """Wait for the first attempt to end, and tell whether the store is open. A cancellation lets it go on."""
        attempt = self.attempt
        if attempt is None:
            return False
        try:
            await asyncio.shield(attempt)
        except Exception as error:  # noqa: BLE001  # whatever a user's store raises, the others go on
            self.error = error
        self.attempt = None
        return attempt.exception() is None

    async def follow(self, emit: Callable[[Event], None], opened: Callable[[Opening], Awaitable[None]]) -> None:
        """Try again until it is open, with everything that opening has to make there; then call ``opened``.

        Each failure is told. What is wrong may change on the way: a store that answers again may refuse us.
        """
        delay = 1.0
        is_open = await self.settle()
        if not is_open:
            _log.warning("%s cannot be opened, and is tried again: %s", self.location, self.error)
        while not is_open:
            emit(StoreUnreachable(self.location, self.error, delay))
            await asyncio.sleep(delay)
            is_open = await self._try()
            delay = min(2 * delay, LONGEST)
        await opened(self)

    async def _try(self) -> bool:
        try:
            await self.repo.validate()
        except Exception as error:  # noqa: BLE001  # as above
            if type(error) is not type(self.error):
                _log.warning("%s still cannot be opened: %s", self.location, error)
            self.error = error
            return False
        return True


async def open_all(repos: Mapping[str, Repository]) -> tuple[dict[str, Opening], list[BaseException]]:
    """Make and check repositories, all at the same time. One that takes long is not waited for, and goes on.

    A cancellation cancels them all.

    :returns: by location those whose store does not answer, and everything else that is wrong.
    """
    tried = await _try_all(repos)
    # What is made of several stores is as open as they are.
    parts = {
        leaf.location: leaf.repo
        for location, (repo, attempt) in tried.items()
        if not isinstance(repo.expression, Leaf) and (not attempt.done() or is_outage(attempt.exception()))
        for leaf in leaves(repo.expression)
        if leaf.location not in repos
    }
    tried |= await _try_all(parts)
    waiting: dict[str, Opening] = {}
    wrong: list[BaseException] = []
    for repo, attempt in tried.values():
        leaf = repo.expression
        error = attempt.exception() if attempt.done() else None
        if not attempt.done() and isinstance(leaf, Leaf):
            late = StoreUnavailableError(f"{repo!r} has not answered yet.")
            waiting[leaf.location] = Opening(leaf.location, repo, late, attempt)
        elif not attempt.done():
            # Its parts are being opened each for itself.
            await give_up([attempt])
        elif isinstance(error, Exception) and isinstance(leaf, Leaf) and is_outage(error):
            waiting[leaf.location] = Opening(leaf.location, repo, error)
        elif error is not None and not is_outage(error):
            wrong.append(error)
    return waiting, wrong


_Tried = dict[str, tuple[Repository, asyncio.Future[None]]]


async def _try_all(repos: Mapping[str, Repository]) -> _Tried:
    tried: _Tried = {location: (repo, asyncio.ensure_future(repo.validate())) for location, repo in repos.items()}
    attempts = [attempt for _, attempt in tried.values()]
    try:
        if attempts:
            await asyncio.wait(attempts, timeout=GRACE)
    except asyncio.CancelledError:
        await give_up(attempts)
        raise
    return tried


async def give_up(attempts: Iterable[asyncio.Future[None]]) -> None:
    """End attempts, whatever comes of them."""
    ending = list(attempts)
    for attempt in ending:
        attempt.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
