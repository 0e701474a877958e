"""A shell on the host that stays, so that no channel has to be opened per job."""

from __future__ import annotations

import asyncio
import itertools
import shlex
from collections.abc import Sequence
from typing import Self

import asyncssh
from pydatatask_core.errors import SiteUnavailableError

from ._errors import cut, explain, explained

__all__ = ["Conversation", "command"]


def command(*arguments: str) -> str:
    """Give the command line that runs the program on standard input. Every login shell reads it alike."""
    return " ".join(["exec", "sh", "-s", "--", *(shlex.quote(argument) for argument in arguments)])


class Conversation:
    """Asks :data:`~.programs.TALK`, on one channel. Several may ask at the same time."""

    def __init__(self, process: asyncssh.SSHClientProcess[str], host: str) -> None:
        self._process = process
        self._host = host
        self._numbers = itertools.count(1)
        self._asked: dict[str, asyncio.Future[list[str]]] = {}
        self._over: SiteUnavailableError | None = None
        self._listener = asyncio.ensure_future(self._listen())

    @classmethod
    async def begin(cls, connection: asyncssh.SSHClientConnection, host: str, program: str, *arguments: str) -> Self:
        """Start the shell, and wait until it has read its program: what follows is for the program to read.

        :raises SiteUnavailableError: if it does not start.
        """
        with explained("start a shell", host):
            process = await connection.create_process(
                command(*arguments), encoding="utf-8", errors="replace", stderr=asyncssh.DEVNULL
            )
            try:
                process.stdin.write(program)
                said = await process.stdout.readline()
            except BaseException:
                process.close()
                raise
        if said != "ready\n":
            process.close()
            raise cut("start a shell", host)
        return cls(process, host)

    @property
    def is_over(self) -> bool:
        """Whether the shell has ended."""
        return self._over is not None

    async def ask(self, verb: str, *words: str, more: Sequence[str] = ()) -> list[str]:
        """Have something done, and give the lines that it told, or the words of its answer.

        :param more: lines that belong to the question.
        :raises SiteUnavailableError: if the shell ended. What was asked for is done or not.
        """
        if self._over is not None:
            raise SiteUnavailableError(str(self._over)) from self._over
        number = str(next(self._numbers))
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        with explained(f"{verb} {' '.join(words)}".strip(), self._host):
            self._process.stdin.write("\n".join((" ".join((number, verb, *words)), *more, "")))
        return await answer

    async def close(self) -> None:
        """End the shell."""
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        self._end(cut("go on", self._host))
        self._process.close()

    async def _listen(self) -> None:
        told: list[str] = []
        error = cut("go on", self._host)
        try:
            async for line in self._process.stdout:
                if not line.endswith("\n"):
                    break
                if not line.startswith(". "):
                    told.append(line[:-1])
                    continue
                _, number, *words = line.split()
                answer = self._asked.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(words or told)
                told = []
        except (asyncssh.Error, OSError) as failure:
            error = explain("go on", self._host, failure)
        self._end(error)

    def _end(self, error: SiteUnavailableError) -> None:
        self._over = error
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(SiteUnavailableError(str(error)))
