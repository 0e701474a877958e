"""Where text goes: data to standard output, narration to standard error.

Rich is imported only by what draws, and nothing of the core is, so that ``--help`` and completion are quick.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from typing_extensions import override

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "SCHEMA_VERSION",
    "ReaderGoneError",
    "complain",
    "console",
    "document",
    "encoded_line",
    "flush",
    "is_terminal",
    "line",
    "lines",
    "log_to_stderr",
    "narrate",
    "raw",
    "record",
    "show_cursor",
]

SCHEMA_VERSION = 1
"""Of every JSON document and JSON line that the verbs print."""


class ReaderGoneError(Exception):
    """Whoever read standard output went away. No mistake of anybody."""


def line(text: str = "") -> None:
    """Print one line of data."""
    _write(sys.stdout, f"{text}\n")


def lines(texts: Iterable[str]) -> None:
    """Print many lines of data."""
    text = "\n".join(texts)
    if text:
        _write(sys.stdout, f"{text}\n")


def raw(data: bytes) -> None:
    """Print bytes as they are."""
    sys.stdout.flush()
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def document(data: Mapping[str, Any]) -> None:
    """Print one JSON document."""
    _write(sys.stdout, f"{_encode({'schema_version': SCHEMA_VERSION, **data}, indent=2)}\n")


def record(data: Mapping[str, Any]) -> None:
    """Print one JSON line."""
    _write(sys.stdout, encoded_line(data))


def encoded_line(data: Mapping[str, Any]) -> str:
    """Give one JSON line as it is printed, its end included."""
    return f"{_encode({'schema_version': SCHEMA_VERSION, **data})}\n"


def narrate(text: str) -> None:
    """Tell the user something that is not data. If nobody can read it any more, that is no reason to stop."""
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # the one place that narrates
    except OSError:
        return


def complain(text: str) -> None:
    """Narrate something bad: in red on a terminal, unless NO_COLOR is set."""
    is_red = is_terminal(sys.stderr) and not os.environ.get("NO_COLOR")
    narrate(f"\x1b[31m{text}\x1b[0m" if is_red else text)


def flush() -> None:
    """Hand over what was printed.

    :raises ReaderGoneError: if nobody reads it any more.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def is_terminal(stream: TextIO) -> bool:
    """Tell whether somebody looks at a stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(*, stderr: bool = False) -> Console:
    """Give rich's console on a standard stream. It obeys NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False, markup=False)


def show_cursor() -> None:
    """Show the cursor that a table may have hidden, before a process ends that cannot wait for the table's own end."""
    try:
        if is_terminal(sys.stderr):
            os.write(sys.stderr.fileno(), b"\x1b[?25h")
    except (OSError, ValueError):
        # There is no terminal any more.
        return


def log_to_stderr(debug: Callable[[], bool]) -> None:
    """Narrate what the library logs, one line each, unless the script has made arrangements of its own.

    :param debug: tells whether tracebacks are wanted.
    """
    logger = logging.getLogger("pydatatask")
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = _Narrator()
    handler.setFormatter(_Brief(debug))
    logger.addHandler(handler)
    logger.propagate = False


class _Narrator(logging.Handler):
    """Narrates. Looks up standard error each time, since a live table stands in for it meanwhile."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        narrate(self.format(record))


class _Brief(logging.Formatter):
    def __init__(self, debug: Callable[[], bool]) -> None:
        super().__init__()
        self._debug = debug

    @override
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) if self._debug() else record.getMessage()


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except BrokenPipeError as error:
        raise ReaderGoneError from error


def _encode(data: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(data, default=_plain, indent=indent)


def _plain(value: object) -> object:
    """What JSON has no word for: moments as ISO 8601, bytes as text where they are, the rest as it shows itself."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
