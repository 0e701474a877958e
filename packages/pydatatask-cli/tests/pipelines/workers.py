"""A task in a pool of processes, whose workers must find it again however the pipeline was loaded."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from cli_stores import Files, YamlFiles
from pydatatask_core import ExecutorTask, Pipeline, Session

FOLDER = Path(os.environ["PIPELINE_FOLDER"])


@ExecutorTask("work", ProcessPoolExecutor(1), YamlFiles(FOLDER / "done"))
async def work(job: str, out: Files) -> None:
    async with await out.open(job, "w") as sink:
        await sink.write(str(os.getpid()))


work.link("texts", Files(FOLDER / "texts"), is_input=True)
work.link("out", Files(FOLDER / "out"), is_output=True)
pipeline = Pipeline([work], Session())
