"""The live table of a run on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from rich import box
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import output
from .progress import Progress, TaskRow, duration, ticking

__all__ = ["live_table", "table_of"]

REFRESH = 0.25
"""Seconds between two pictures."""


@asynccontextmanager
async def live_table(progress: Progress) -> AsyncIterator[None]:
    """Keep a table of the run at the bottom of the terminal; what is printed meanwhile goes above it."""
    console = output.console(stderr=True)
    live = Live(
        table_of(progress.rows(), progress.elapsed),
        console=console,
        auto_refresh=False,
        redirect_stdout=sys.stdout.isatty(),
        vertical_overflow="ellipsis",
        # The summary takes its place.
        transient=True,
    )

    def refresh() -> None:
        live.update(table_of(progress.rows(), progress.elapsed), refresh=True)

    live.start()
    try:
        with _logs_above():
            async with ticking(REFRESH, refresh):
                yield
    finally:
        live.stop()


def table_of(rows: list[TaskRow], elapsed: float) -> Table:
    """Draw how far the tasks are."""
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, caption=f"running for {duration(elapsed)}", caption_justify="left"
    )
    table.add_column("task", style="bold")
    for heading in ("waiting", "ready", "live", "retrying", "done", "failed", "per s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            _number(row.waiting, "default"),
            _number(row.ready, "blue"),
            _number(row.live, "cyan"),
            _number(row.retrying, "yellow"),
            _number(row.done, "green"),
            _number(row.failed, "red"),
            f"{row.rate:,.1f}" if row.rate else Text("-", "dim"),
        )
    return table


def _number(count: int, style: str) -> Text:
    return Text(f"{count:,}", style) if count else Text("-", "dim")


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
