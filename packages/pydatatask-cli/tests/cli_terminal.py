"""A terminal that a real command is run on."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

from cli_process import DEADLINE, Place

__all__ = ["Terminal", "plain"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\r")


def plain(text: str) -> str:
    """Take control sequences out."""
    return _CONTROL.sub("", text)


class Terminal:
    """A command on a pseudo-terminal of 100 columns and 30 lines. What it shows is kept in ``seen``."""

    def __init__(self, place: Place, argv: list[str], **env: str) -> None:
        self.seen = ""
        # A character may come in two pieces.
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {name: value for name, value in place.environment.items() if name != "COLUMNS"} | env
        self.process = subprocess.Popen(
            argv,
            cwd=place.folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # So that Ctrl-C becomes a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def interrupt_until_it_ends(self) -> int:
        """Press Ctrl-C until the command has ended, and give the exit code.

        Python does not notice a signal that comes just before it begins to read from the terminal.
        """
        deadline = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"never ended: {self.seen!r}"
            self.type("\x03")
            # Ends early when the command does.
            while self._read(min(time.monotonic() + 0.5, deadline)):
                continue
        return self.process.wait(DEADLINE)

    def wait_for(self, pattern: str) -> str:
        """Wait until the plain text of what was shown matches, and give it."""
        deadline = time.monotonic() + DEADLINE
        while not re.search(pattern, plain(self.seen)):
            assert self._read(deadline), f"never showed {pattern!r}: {self.seen!r}"
        return plain(self.seen)

    def end(self) -> int:
        """Wait for the end, and give the exit code."""
        deadline = time.monotonic() + DEADLINE
        while self._read(deadline):
            continue
        return self.process.wait(DEADLINE)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            # The last process that had the terminal open has gone.
            return False
        self.seen += self._decoder.decode(data)
        return bool(data)
