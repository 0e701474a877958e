"""A task whose runs say that they have begun, and then wait: for a byte in a FIFO, for a thread, or for nothing."""

import asyncio
import os
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pydatatask_cli
from cli_stores import Files, YamlFiles
from pydatatask_cli import interrupts
from pydatatask_core import ExecutorTask, InProcessSyncTask, Pipeline, RunTask, Session

FOLDER = Path(os.environ["PIPELINE_FOLDER"])
KIND = os.environ["KIND"]
interrupts.GRACE = float(os.environ.get("GRACE", interrupts.GRACE))


async def work(job: str) -> None:
    if KIND == "blocks":
        print(f"began {job}", flush=True)
        time.sleep(300)
    elif KIND in {"thread", "process"}:
        print(f"began {job}", flush=True)
        # Nobody sets it; and it cannot be cancelled.
        threading.Event().wait(300)
    else:
        await gate(job)


async def gate(job: str) -> None:
    descriptor = os.open(FOLDER / "gate", os.O_RDWR | os.O_NONBLOCK)
    opened = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, opened.set)
    print(f"began {job}", flush=True)
    try:
        await opened.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        print(f"left {job}", flush=True)


def executor() -> Executor:
    return ProcessPoolExecutor(1) if KIND == "process" else ThreadPoolExecutor(1)


done = YamlFiles(FOLDER / "done")
task: RunTask
if KIND in {"thread", "process"}:
    task = ExecutorTask("work", executor(), done)(work)
else:
    task = InProcessSyncTask("work", done, max_concurrent=1)(work)
task.link("texts", Files(FOLDER / "texts"), is_input=True)
pipeline = Pipeline([task], Session())

if __name__ == "__main__":
    pydatatask_cli.main(pipeline)
