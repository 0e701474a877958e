"""Records written to YAML files, against a loop that dumps, writes beside the target and renames."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydatatask_repos_filesystem import YamlMetadataFileRepository

from ..harness import Case, Figures, Lap, compare

__all__ = ["CASE"]

RECORDS = 3000
AT_ONCE = 15
"""As many as a function task runs at a time."""

RECORD: dict[str, object] = {
    "result": "success",
    "cause": None,
    "return_code": None,
    "attempt": 1,
    "attempts": [],
    "start_time": datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "end_time": datetime(2026, 1, 2, 3, 4, 6, 789000, tzinfo=UTC),
    "host": "localhost",
}


async def repository(lap: Lap) -> None:
    done = YamlMetadataFileRepository(lap.folder)
    await done.validate()
    jobs = iter([f"job-{number}" for number in range(RECORDS)])

    async def worker() -> None:
        for job in jobs:
            await done.dump(job, RECORD)

    with lap.timed():
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def bare_loop(lap: Lap) -> None:
    with lap.timed():
        for number in range(RECORDS):
            write(lap.folder, f"job-{number}")


def write(folder: Path, job: str) -> None:
    hidden = f"{folder}/.{job}.part"
    with open(hidden, "wb") as file:
        yaml.dump(RECORD, file, Dumper=yaml.CSafeDumper, encoding="utf-8")
    os.rename(hidden, f"{folder}/{job}.yaml")


async def measure() -> Figures:
    return await compare(RECORDS, repository, bare_loop)


CASE = Case("yaml-file-dumps", "0.7 of the bare loop", measure)
