"""The live table of a run on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from attrs import frozen
from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import output
from .progress import Progress, TaskRow, duration, ticking

__all__ = ["live_table", "table_of"]

REFRESH = 0.25
"""Seconds between two pictures."""

WIDE = 72
"""Columns of a terminal from which on all is shown."""


@asynccontextmanager
async def live_table(progress: Progress) -> AsyncIterator[None]:
    """Keep a table of the run at the bottom of the terminal; what is printed meanwhile goes above it."""
    console = output.console(stderr=True)
    live = Live(
        table_of(progress.rows(), progress.elapsed, console.width),
        console=console,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),
        vertical_overflow="ellipsis",
        # The summary takes its place.
        transient=True,
    )

    def refresh() -> None:
        live.update(table_of(progress.rows(), progress.elapsed, console.width), refresh=True)

    live.start()
    try:
        with _logs_above():
            async with ticking(REFRESH, refresh):
                yield
    finally:
        live.stop()


def table_of(rows: list[TaskRow], elapsed: float, width: int = 80) -> Table:
    """Draw how far the tasks are; on a narrow terminal, what matters most of it.

    :param width: of the terminal, in columns.
    """
    columns = _COLUMNS if width >= WIDE else _COLUMNS[2:3] + _COLUMNS[4:6]
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, caption=f"running for {duration(elapsed)}", caption_justify="left"
    )
    table.add_column("task", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, *(_number(column.value(row), column.style) for column in columns))
    return table


@frozen
class _Column:
    heading: str
    style: str
    value: Callable[[TaskRow], float]


_COLUMNS = (
    _Column("waiting", "default", lambda row: row.waiting),
    _Column("ready", "blue", lambda row: row.ready),
    _Column("live", "cyan", lambda row: row.live),
    _Column("retrying", "yellow", lambda row: row.retrying),
    _Column("done", "green", lambda row: row.done),
    _Column("failed", "red", lambda row: row.failed),
    _Column("per s", "default", lambda row: row.rate),
)


def _number(count: float, style: str) -> Text:
    text = f"{count:,}" if isinstance(count, int) else f"{count:,.1f}"
    return Text(text, style) if count else Text("-", "dim")


@contextmanager
def _logs_above() -> Iterator[None]:
    """Have log handlers that hold on to a standard stream write to the table's stand-in for it."""
    stand_ins = {id(sys.__stdout__): sys.stdout, id(sys.__stderr__): sys.stderr}
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    moved = [
        (one, one.stream) for one in handlers if isinstance(one, logging.StreamHandler) and id(one.stream) in stand_ins
    ]
    for handler, stream in moved:
        handler.setStream(stand_ins[id(stream)])
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)
