"""Gets the answers that readiness asks for: whether a filter accepts a job, whether a task succeeded, translations."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from typing_extensions import override

from ..errors import StoreUnavailableError
from ..repository.expression import Filtered
from .events import AnswerFailed, Event
from .readiness import Question, Readiness

__all__ = ["Inquiry", "Questions"]

_log = logging.getLogger("pydatatask.pipeline")

MOST = 16
"""Questions that are asked of stores at the same time."""


class Questions(deque[Question]):
    """The questions that wait to be asked."""

    on_append: Callable[[], None] | None = None

    @override
    def append(self, question: Question, /) -> None:
        super().append(question)
        if self.on_append is not None:
            self.on_append()


class Inquiry:
    """Asks the questions of readiness, several at a time, and tells it the answers."""

    def __init__(
        self, readiness: Readiness, questions: Questions, emit: Callable[[Event], None], wake: Callable[[], None]
    ) -> None:
        self._readiness = readiness
        self._questions = questions
        self._emit = emit
        self._wake = wake
        self._workers: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._coming = False
        self._troubles = 0
        self._error: StoreUnavailableError | None = None
        self._failures: dict[Question, Exception] = {}

    @property
    def busy(self) -> bool:
        """Whether answers are on their way."""
        return bool(self._workers)

    @property
    def obstacle(self) -> StoreUnavailableError | None:
        """Why questions cannot be asked now, if they cannot."""
        return None if self._pause is None else self._error

    @property
    def failures(self) -> Mapping[Question, Exception]:
        """Questions that could not be answered, and why. They are asked again when their key changes."""
        for question in [question for question in self._failures if not self._readiness.is_given_up(question)]:
            # The key changed, or is gone.
            del self._failures[question]
        return self._failures

    def open(self) -> None:
        """Begin to ask."""
        self._questions.on_append = self._hire
        if self._questions:
            self._hire()

    async def close(self) -> None:
        """Stop asking."""
        self._questions.on_append = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _hire(self) -> None:
        """Get one more worker, unless one is coming that may be enough."""
        if self._pause is None and not self._coming and len(self._workers) < MOST:
            self._coming = True
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._dismiss)

    def _dismiss(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if self._questions and not worker.cancelled() and self._questions.on_append is not None:
            self._hire()
        if not self._workers:
            self._wake()

    async def _work(self) -> None:
        self._coming = False
        while self._pause is None and (question := self._readiness.take_question()) is not None:
            if self._questions:
                self._hire()
            try:
                self._readiness.answer(question, await self._answer(question))
            except StoreUnavailableError as error:
                self._retry_later(error)
                self._readiness.withdraw(question)
            except Exception as error:  # noqa: BLE001  # told, and the job waits; the others go on
                self._give_up(question, error)
            else:
                self._troubles = 0
                if self._failures:
                    self._failures.pop(question, None)

    async def _answer(self, question: Question) -> bool | str | None:
        subject = question.ask.subject
        if isinstance(subject, Filtered):
            return await subject.accepts(question.job)
        return await subject.translate(question.job)

    def _retry_later(self, error: StoreUnavailableError) -> None:
        if self._pause is not None:
            return
        self._error = error
        delay = min(2.0**self._troubles, 60.0)
        self._troubles = min(self._troubles + 1, 10)
        _log.warning("What is ready cannot be decided, and is asked again in %.0f s: %s", delay, error)
        self._pause = asyncio.get_running_loop().call_later(delay, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._hire()

    def _give_up(self, question: Question, error: Exception) -> None:
        self._failures[question] = error
        self._readiness.give_up(question)
        _log.error("Whether job %s is ready cannot be decided: %s", question.job, error)
        self._emit(AnswerFailed(str(error), question.job, error))
