"""Three tasks over files and folders, in-process, in threads and in processes, that note starts in ``starts.log``.

Each value is large enough to be written in many pieces.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pydatatask

PIECES = 40
PIECE = 8192
"""Characters."""

inputs = pydatatask.FileRepository("inputs", ".txt")
copies = pydatatask.FileRepository("copies", ".txt")
folders = pydatatask.DirectoryRepository("folders")
copy_done = pydatatask.YamlMetadataFileRepository("copy_done")
packs = pydatatask.FileRepository("packs", ".txt")
fold_done = pydatatask.YamlMetadataFileRepository("fold_done")
pack_done = pydatatask.YamlMetadataFileRepository("pack_done")


def note_start(task: str, job: str) -> None:
    """Append a line in one write, which a kill cannot divide: what is started, and by which controller."""
    parent = multiprocessing.parent_process()
    controller = os.getpid() if parent is None else parent.pid
    log = os.open("starts.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{task} {job} {controller}\n".encode())
    os.close(log)


def piece(job: str, number: int) -> str:
    """Give one piece of a job's value."""
    return f"{job} {number} ".ljust(PIECE - 1, ".") + "\n"


@pydatatask.InProcessSyncTask("copy", copy_done, max_concurrent=4)
async def copy(job: str, copies: pydatatask.FileRepository) -> None:
    note_start("copy", job)
    async with await copies.open(job, "w") as file:
        for number in range(PIECES):
            await file.write(piece(job, number))
            await asyncio.sleep(0)


@pydatatask.ExecutorTask("fold", ThreadPoolExecutor(3), fold_done)
async def fold(job: str, copies: pydatatask.FileRepository, folders: pydatatask.DirectoryRepository) -> None:
    note_start("fold", job)
    async with await copies.open(job, "r") as file, folders.stage(job) as folder:
        for number in range(PIECES):
            (folder / f"{number}.txt").write_text(await file.read(PIECE))


@pydatatask.ExecutorTask("pack", ProcessPoolExecutor(2), pack_done)
async def pack(job: str, folders: pydatatask.DirectoryRepository, packs: pydatatask.FileRepository) -> None:
    note_start("pack", job)
    async with await packs.open(job, "w") as file:
        for number in range(PIECES):
            await file.write((folders.fullpath(job) / f"{number}.txt").read_text())


copy.link("inputs", inputs, is_input=True)
copy.link("copies", copies, is_output=True)
fold.plug(copy)
fold.link("folders", folders, is_output=True)
pack.plug(fold)
pack.link("packs", packs, is_output=True)

pipeline = pydatatask.Pipeline([copy, fold, pack], pydatatask.Session())

if __name__ == "__main__":
    pydatatask.main(pipeline)
