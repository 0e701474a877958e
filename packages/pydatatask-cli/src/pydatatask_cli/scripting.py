"""What the verbs do, as coroutines for scripts, by the names of earlier releases. The pipeline must be open.

They print data to standard output, as the verbs do where it is no terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pydatatask_core.job import check_job
from pydatatask_core.pipeline.pipeline import Pipeline

from . import output
from .console import interact_beside
from .deleting import delete, is_glob, plan, targets_of
from .launching import launch_job
from .listing import jobs_of, parse_for
from .names import find_link, find_task
from .status import collect_status
from .status_view import narrate_errors, status_lines
from .trace import collect_traces
from .values import chunks_of, print_value, store

__all__ = [
    "cat_data",
    "delete_data",
    "inject_data",
    "launch",
    "list_data",
    "print_status",
    "print_trace",
    "run",
    "shell",
    "update",
]


async def run(pipeline: Pipeline, forever: bool, launch_once: bool, timeout: float | None) -> None:  # noqa: ASYNC109  # a name of earlier releases
    """Start what is ready until nothing is left to do; see :meth:`Pipeline.run`.

    :raises TimeoutError: after ``timeout`` seconds.
    """
    await pipeline.run(forever, launch_once, timeout)


async def update(pipeline: Pipeline) -> None:
    """Do one round; see :meth:`Pipeline.update`."""
    await pipeline.update()


async def launch(pipeline: Pipeline, task_name: str, job: str, sync: bool, meta: bool, force: bool) -> int:
    """Run a task on one job now, and give 0 if it succeeded, 1 if it failed or is not ready.

    :param sync: run it in this process, where it can be.
    :param meta: publish its done record.
    :param force: start it even if it is not ready.
    :raises UnknownNameError: if there is no such task.
    :raises JobIdError: if it is no valid job id.
    """
    task = find_task(pipeline, task_name)
    return await launch_job(pipeline, task, check_job(job), synchronous=sync, metadata=meta, force=force)


async def print_status(pipeline: Pipeline, all_repos: bool) -> None:
    """Print per task its name, a line ``task.link COUNT`` for inputs, then status, then outputs, and an empty line.

    :param all_repos: links that are none of these, too.
    """
    status = await collect_status(pipeline, all_repos)
    output.lines(status_lines(status))
    narrate_errors(status.errors)


async def print_trace(pipeline: Pipeline, all_repos: bool, jobs: Sequence[str]) -> None:
    """Print what :func:`print_status` does with, instead of counts, those of the jobs that are there.

    :raises JobIdError: if one is no valid job id.
    """
    traces = await collect_traces(pipeline, jobs, all_repos)
    present: dict[str, dict[str, list[str]]] = {name: {} for name in pipeline.tasks}
    for trace in traces.jobs:
        for task in trace.tasks:
            for link in task.links:
                there = present[task.task].setdefault(link.name, [])
                if link.present:
                    there.append(trace.job)
    for name, links in present.items():
        output.line(name)
        for link_name, there in links.items():
            output.line(" ".join((link_name, *there)))
        output.line()
    narrate_errors(traces.errors)


async def delete_data(pipeline: Pipeline, data: str, recursive: bool, jobs: Sequence[str]) -> None:
    """Delete jobs from the repository or from all that the task ``data`` fills, and print each deletion.

    :param recursive: delete what was made from them first.
    :param jobs: job ids and patterns of them; ``__all__`` means all.
    :raises UnknownNameError: if there is no such repository or task.
    :raises JobIdError: if one is no valid job id.
    """
    chosen = ["*" if job == "__all__" else job for job in jobs]
    for job in chosen:
        if not is_glob(job):
            check_job(job)
    for removal in await plan(pipeline, targets_of(pipeline, data), chosen, recursive):
        deleted: list[str] = []
        left = await delete(removal, deleted.append)
        output.lines(f"{job} {removal.name}" for job in deleted)
        for kept in left:
            output.complain(f"Error: {removal.name} is a view that does not let {kept} be deleted.")


async def list_data(pipeline: Pipeline, data: str | Sequence[str]) -> None:
    """Print the jobs of a repository or set expression, sorted, one a line. Parts are put together with spaces.

    :raises ExpressionError: if it cannot be read, or names what does not exist.
    """
    expression, links = parse_for(pipeline, data if isinstance(data, str) else " ".join(data))
    output.lines(sorted([job async for page in jobs_of(expression, links) for job in page]))


async def cat_data(pipeline: Pipeline, data: str, job: str) -> None:
    """Print a job's value in the repository ``data``: bytes as they are, data as YAML.

    :raises UnknownNameError: if there is no such repository.
    :raises MissingJobError: if it does not hold the job.
    """
    await print_value(find_link(pipeline, data).repo, job)
    output.flush()


async def inject_data(pipeline: Pipeline, data: str, job: str) -> None:
    """Store standard input as a job's value in the repository ``data``: bytes as they are, data from YAML or JSON.

    :raises UnknownNameError: if there is no such repository.
    :raises JobIdError: if it is no valid job id.
    :raises UsageError: if data is wanted and the input is none. Nothing was stored.
    """
    await store(find_link(pipeline, data).repo, check_job(job), chunks_of(sys.stdin.fileno()))


async def shell(pipeline: Pipeline) -> None:
    """Run an interactive Python with the pipeline until the user leaves it."""
    await interact_beside(pipeline)
