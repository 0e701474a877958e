"""A file of what happens in a run, one JSON line for each event."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pydatatask_core.clock import now
from pydatatask_core.pipeline.events import Event, Observer, as_data

from .output import encoded_line

__all__ = ["logging_events"]


@contextmanager
def logging_events(path: str | os.PathLike[str] | None) -> Iterator[list[Observer]]:
    """Append the events of a run to a file; give the observers that do it: none, without a path.

    Each line is whole when it is there, and handed to the system at once, so that it can be followed.

    :raises OSError: if the file cannot be opened.
    """
    if path is None:
        yield []
        return
    with open(path, "a", encoding="utf-8", buffering=1) as file:  # noqa: PTH123  # line by line
        yield [_Log(file)]


class _Log:
    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, event: Event) -> None:
        self._file.write(encoded_line({"time": now(), **as_data(event)}))
