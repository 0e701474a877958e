"""What is right and what is wrong with a pipeline: what ``validate`` says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Literal

from attrs import asdict, frozen
from pydatatask_core.pipeline.pipeline import Pipeline
from pydatatask_core.repository.combining import keys_of
from pydatatask_core.repository.protocols import Repository
from pydatatask_core.runs.lifecycle import SiteTask
from pydatatask_core.runs.site import ExecutionSite, Phase, Sighting, Snapshot
from pydatatask_core.task.run import RunTask
from typing_extensions import override

from .records import read_all, result_of

__all__ = ["Finding", "deep_findings"]

Kind = Literal[
    "done without output", "output without done", "unreadable record", "foreign run", "unknown task", "unreleased run"
]

_WORDS: dict[Kind, str] = {
    "done without output": "missing, though recorded as done successfully",
    "output without done": "there without a done record",
    "unreadable record": "there with a record that cannot be read",
    "foreign run": "with a run of another pipeline of the same app, task and job names",
    "unknown task": "with a run of a task that this pipeline does not have",
    "unreleased run": "with a run that is recorded and still there; the next run of the pipeline releases it",
}


@frozen
class Finding:
    """Jobs of a task whose repositories do not agree."""

    kind: Kind
    task: str
    repository: str
    jobs: int
    examples: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """Give the finding for a JSON document."""
        return asdict(self)

    @override
    def __str__(self) -> str:
        examples = ", ".join(self.examples) + (", ..." if self.jobs > len(self.examples) else "")
        return f"{self.repository}: {self.jobs:,} {'job' if self.jobs == 1 else 'jobs'} {_WORDS[self.kind]}: {examples}"


async def deep_findings(pipeline: Pipeline, examples: int = 3) -> list[Finding]:
    """Compare the done records of each task with its outputs and with what is at its site.

    Lists them all, and reads every done record. What runs at the moment may have outputs and no done record yet.

    :raises StoreUnavailableError: if a repository cannot be asked.
    :raises SiteUnavailableError: if a site cannot be asked.
    """
    tasks = [task for task in pipeline.tasks.values() if isinstance(task, RunTask) and task.done is not None]
    found = await asyncio.gather(*(_compare(task, examples) for task in tasks))
    outside = [task for task in pipeline.tasks.values() if isinstance(task, SiteTask)]
    sites = {task.site: [other for other in outside if other.site is task.site] for task in outside}
    strays = await asyncio.gather(*(_strays(site, of_site, examples) for site, of_site in sites.items()))
    return [finding for group in (*found, *strays) for finding in group]


async def _strays(site: ExecutionSite[Any], tasks: list[SiteTask[Any]], examples: int) -> list[Finding]:
    """Find the runs at a site that nobody of this pipeline is waiting for."""
    runs: Collection[Sighting] = ()
    async with site.watch() as events:
        async for event in events:
            if isinstance(event, Snapshot):
                runs = event.runs
                break
    by_name = {task.name: task for task in tasks}
    strays: dict[tuple[Kind, str], set[str]] = {}
    for seen in runs:
        kind = await _stray(seen, by_name.get(seen.run.task))
        if kind is not None:
            strays.setdefault((kind, seen.run.task), set()).add(seen.run.job)
    return [
        Finding(kind, name, f"{name} on {site.host}", len(jobs), tuple(sorted(jobs)[:examples]))
        for (kind, name), jobs in sorted(strays.items())
    ]


async def _stray(seen: Sighting, task: SiteTask[Any] | None) -> Kind | None:
    if task is None:
        return "unknown task"
    if seen.owner != task.owner:
        return "foreign run"
    recorded = seen.phase is Phase.ENDED and task.done is not None and await task.done.contains(seen.run.job)
    return "unreleased run" if recorded else None


async def _compare(task: RunTask, examples: int) -> list[Finding]:
    assert task.done is not None
    records = await read_all(task.done)
    endings = {job: result_of(data) for job, data in records.items()}
    findings: list[Finding] = []

    def find(kind: Kind, repository: str, jobs: set[str]) -> None:
        if jobs:
            findings.append(Finding(kind, task.name, repository, len(jobs), tuple(sorted(jobs)[:examples])))

    find("unreadable record", f"{task.name}.done", {job for job, end in endings.items() if end == "unreadable"})
    succeeded = {job for job, end in endings.items() if end == "success"}
    outputs = await _outputs(task)
    for name, held in outputs.items():
        find("done without output", name, succeeded - held)
        find("output without done", name, held - set(endings))
    return findings


async def _outputs(task: RunTask) -> dict[str, set[str]]:
    repos: dict[str, Repository] = {f"{task.name}.{name}": repo for name, repo in task.output.items()}
    return dict(zip(repos, await asyncio.gather(*map(keys_of, repos.values())), strict=True))
