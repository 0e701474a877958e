"""Tasks whose jobs wait: for a quota, for a retry, for their turn, for somebody to raise a quota."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from cli_stores import Files, YamlFiles
from pydatatask_cli import main
from pydatatask_core import InProcessSyncTask, Pipeline, ResourceManager, Resources, Retries, Session

FOLDER = Path(os.environ["PIPELINE_FOLDER"])
MANAGER = ResourceManager(Resources.parse(2, "4Gi"))
texts = Files(FOLDER / "texts")


async def waits(job: str) -> None:
    await asyncio.Event().wait()


async def fails(job: str) -> None:
    raise ValueError(f"{job} is not to my taste")


def task(name: str, function: Any, **options: Any) -> InProcessSyncTask:
    """Make a task over the texts."""
    made = InProcessSyncTask(name, YamlFiles(FOLDER / f"{name}_done"), func=function, **options)
    made.link("texts", texts, is_input=True)
    return made


pipeline = Pipeline(
    [
        task("heavy", waits, resource_manager=MANAGER, job_resources=Resources.parse(1, "1Gi")),
        task("narrow", waits, max_concurrent=1),
        task("huge", waits, resource_manager=MANAGER, job_resources=Resources.parse(16, "1Gi")),
        task("flaky", fails, retries=Retries(3, delay=3600), attempts=YamlFiles(FOLDER / "flaky_attempts")),
    ],
    Session(),
)

if __name__ == "__main__":
    main(pipeline)
