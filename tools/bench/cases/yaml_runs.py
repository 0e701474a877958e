"""Runs of a function that does nothing, recorded in YAML files, against a loop that writes the same records."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import yaml
from pydatatask_core import InProcessMetadataRepository, InProcessSyncTask, Pipeline, Session
from pydatatask_repos_filesystem import YamlMetadataFileRepository

from ..chains import nothing
from ..harness import Case, Figures, Lap, compare

__all__ = ["CASE"]

JOBS = 3000


async def runs(lap: Lap) -> None:
    task = InProcessSyncTask("task", YamlMetadataFileRepository(lap.folder), func=nothing)
    task.link("source", InProcessMetadataRepository({f"job{n:07}": {} for n in range(JOBS)}), is_input=True)
    pipeline = Pipeline([task], Session())
    async with pipeline:
        with lap.timed():
            await pipeline.run()
    assert len(list(lap.folder.glob("*.yaml"))) == JOBS


async def bare(lap: Lap) -> None:
    with lap.timed():
        for number in range(JOBS):
            job = f"job{number:07}"
            start = datetime.now(UTC)
            await nothing(job)
            record = {
                "result": "success",
                "attempt": 1,
                "start_time": start,
                "end_time": datetime.now(UTC),
                "host": "localhost",
            }
            draft = lap.folder / f".{job}.draft"
            with draft.open("w") as file:
                yaml.dump(record, file, Dumper=yaml.CSafeDumper, sort_keys=False)
            os.replace(draft, lap.folder / f"{job}.yaml")


async def measure() -> Figures:
    return await compare(JOBS, runs, bare)


CASE = Case("yaml-runs", "0.7 of the bare loop", measure)
