"""The pipeline that most tests are about, over any kind of store, and how to call the command on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pydatatask_cli.app import make_group
from pydatatask_cli.invocation import Invocation, invoke
from pydatatask_core import (
    BlobRepository,
    InProcessBlobRepository,
    InProcessMetadataRepository,
    InProcessSyncTask,
    MetadataRepository,
    Pipeline,
    Session,
)

__all__ = ["Books", "MemoryBooks", "call"]


B = TypeVar("B", bound=BlobRepository)
M = TypeVar("M", bound=MetadataRepository)


class Books(Generic[B, M]):
    """``summary`` writes the length of each text, and fails on texts that are bad; ``index`` is plugged into it."""

    def __init__(self, blobs: Callable[[], B], metadata: Callable[[], M]) -> None:
        self.texts = blobs()
        self.reports = blobs()
        self.done = metadata()
        self.words = blobs()
        self.index_done = metadata()
        self.summary = InProcessSyncTask("summary", self.done)(_summarise)
        self.summary.link("texts", self.texts, is_input=True)
        self.summary.link("reports", self.reports, is_output=True)
        self.index = InProcessSyncTask("index", self.index_done)(_index)
        self.index.plug(self.summary)
        self.index.link("words", self.words, is_output=True)
        self.pipeline = Pipeline([self.summary, self.index], Session())

    def call(self, *args: str) -> int:
        """Call the command with this pipeline."""
        return call(self.pipeline, *args)


MemoryBooks = Books[InProcessBlobRepository, InProcessMetadataRepository]


def call(pipeline: Pipeline, *args: str) -> int:
    """Call the command as a script's ``main`` does, and give the exit code."""
    return invoke(make_group(any_pipeline=False), Invocation(given=pipeline), "main.py", list(args))


async def _summarise(job: str, texts: BlobRepository, reports: BlobRepository) -> None:
    async with await texts.open(job) as source:
        text = await source.read()
    if "bad" in text:
        raise ValueError(f"{job} is bad\nin every way")
    async with await reports.open(job, "w") as sink:
        await sink.write(f"{len(text)}\n")


async def _index(job: str, reports: BlobRepository, words: BlobRepository) -> None:
    async with await reports.open(job, "rb") as source:
        data = await source.read()
    async with await words.open(job, "wb") as sink:
        await sink.write(data)
