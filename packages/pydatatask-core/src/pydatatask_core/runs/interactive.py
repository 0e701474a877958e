"""Programs beside a live run: what a site offers that can look into its runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Literal, NamedTuple, Self

from .site import RunName

__all__ = ["Execution", "Interactive", "TerminalSize"]


class TerminalSize(NamedTuple):
    """The size of a terminal, in characters."""

    columns: int
    rows: int


class Execution(ABC):
    """A program that runs beside a live run. An async context manager that closes."""

    @abstractmethod
    async def write(self, data: bytes, /) -> None:
        """Give the program input. With a terminal, control characters mean what they mean there.

        :raises SiteUnavailableError: if the connection to it is lost.
        """

    @abstractmethod
    async def end_input(self) -> bool:
        """Tell the program that no more input comes. Its output goes on.

        With a terminal that is the terminal's matter: write its end-of-file character, Ctrl-D as a rule.

        :returns: whether the site could tell it.
        :raises SiteUnavailableError: if the connection to it is lost.
        """

    @abstractmethod
    def output(self) -> AsyncIterator[tuple[Literal["stdout", "stderr"], bytes]]:
        """Give what the program writes, until it has ended. With a terminal all of it is ``stdout``.

        :raises SiteUnavailableError: if the connection to it is lost.
        """

    @abstractmethod
    async def resize(self, size: TerminalSize) -> None:
        """Tell the program that its terminal has another size."""

    @property
    @abstractmethod
    def exit_status(self) -> int | None:
        """The program's exit status; None as long as :meth:`output` has not ended."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the program, which may go on. May be called again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class Interactive(ABC):
    """An execution site on which a program can be run beside a live run: in its container, in its pod."""

    @abstractmethod
    async def exec(self, run: RunName, argv: Sequence[str], *, terminal: TerminalSize | None = None) -> Execution:
        """Run a program where a live run is.

        :param argv: the program and its arguments; no shell reads them.
        :param terminal: gives the program a terminal of this size; without one it gets pipes.
        :raises MissingJobError: if the run is not live.
        :raises SiteUnavailableError: if the site does not answer, or refuses.
        """
