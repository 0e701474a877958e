"""What a run has written: from its host while it is there, from the repository afterwards. What ``logs`` does."""

from __future__ import annotations

from typing import Literal

from pydatatask_core.errors import MissingJobError
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.streams import CHUNK, BlobReader

from . import output
from .values import print_blob

__all__ = ["print_logs"]


async def print_logs(
    task: SiteTask[object], job: str, stream: Literal["stdout", "stderr"], follow: bool, attempt: int | None
) -> None:
    """Print what a job's last run has written, or that of another attempt that is still at the site.

    :param follow: go on until the run has ended.
    :raises MissingJobError: if there is nothing.
    :raises SiteUnavailableError: if the site cannot be asked.
    """
    source = await _live(task, job, stream, follow, attempt)
    if source is not None:
        async with source:
            while data := await source.read(CHUNK):
                output.raw(data)
                output.flush()
        return
    stored = task.stored_output(stream)
    if attempt is None and stored is not None and await stored.contains(job):
        await print_blob(stored, job)
        return
    kept = "" if stored is not None else f" Task {task.name} has no repository for {stream}, so it is not kept."
    which = "" if attempt is None else f", attempt {attempt},"
    raise MissingJobError(f"Nothing is there that {task.name} wrote on job {job!r}{which} to {stream}.{kept}")


async def _live(
    task: SiteTask[object], job: str, stream: Literal["stdout", "stderr"], follow: bool, attempt: int | None
) -> BlobReader | None:
    runs = [run for run in await task.site.look(task.name, job) if run.owner == task.owner]
    chosen = [run for run in runs if attempt in {None, run.run.attempt}]
    if not chosen:
        return None
    try:
        if follow:
            return await task.site.follow_output(chosen[-1].run, stream)
        return await task.site.open_output(chosen[-1].run, stream)
    except MissingJobError:
        # It was reaped in this moment, or has not begun.
        return None
