"""How ``status`` looks: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import output
from .exits import lines_of
from .status import LockStatus, PipelineStatus, TaskStatus

__all__ = ["draw_status", "lock_line", "narrate_errors", "status_lines"]


def status_lines(status: PipelineStatus) -> Iterator[str]:
    """Give plain lines: per task its name, a count for each link, and an empty line."""
    for task in status.tasks:
        yield task.name
        for link in task.links:
            yield f"{link.name} {'unreachable' if link.jobs is None else link.jobs}"
        for result, count in (task.results or {}).items():
            yield f"{result} {count}"
        yield ""


def draw_status(status: PipelineStatus) -> None:
    """Draw a table on the terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", style="bold")
    table.add_column("repository")
    table.add_column("role", style="dim")
    table.add_column("jobs", justify="right")
    with_results = any(task.results is not None for task in status.tasks)
    if with_results:
        table.add_column("ended")
    for task in status.tasks:
        for number, link in enumerate(task.links):
            jobs = Text("unreachable", "red") if link.jobs is None else Text(f"{link.jobs:,}")
            row: list[str | Text] = [_title(task) if number == 0 else "", link.name, link.role, jobs]
            if with_results:
                row.append(_results(task.results) if link.name == f"{task.name}.done" else "")
            table.add_row(*row, end_section=number == len(task.links) - 1)
        if not task.links:
            table.add_row(_title(task), end_section=True)
    output.console().print(table)


def narrate_errors(errors: Mapping[str, Exception]) -> None:
    """Say on standard error why repositories, given by location, cannot be asked."""
    for location, error in errors.items():
        for line in lines_of(error):
            output.complain(f"Error: {location}: {line}")


def _title(task: TaskStatus) -> str:
    return f"{task.name} (disabled)" if task.disabled else task.name


def _results(results: Mapping[str, int] | None) -> str:
    return ", ".join(f"{count:,} {result}" for result, count in (results or {}).items())


def lock_line(lock: LockStatus) -> str:
    """Say what guards the pipeline, and who drives it now."""
    holder = lock.holder
    driven = (
        f"Process {holder.pid} on {holder.host} drives it since {holder.since}" if holder else "Nobody drives it now"
    )
    return f"{driven}; {lock.guards}."
