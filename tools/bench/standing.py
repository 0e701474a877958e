"""A chain of three tasks that have done all jobs: what it costs to look at it, to be idle, and to hear of a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydatatask_core import InProcessMetadataRepository
from pydatatask_core.pipeline.controller import Controller
from pydatatask_core.pipeline.events import RoundDone

from .chains import chain

__all__ = ["Standing"]

SUCCESS = {"result": "success"}


class Standing:
    """The chain, its stores filled and its controller not yet at work. All figures are CPU seconds."""

    def __init__(self, keys: int) -> None:
        self._keys = keys
        jobs = [f"job{number:07}" for number in range(keys)]
        self._source = InProcessMetadataRepository(dict.fromkeys(jobs, SUCCESS))
        self._pipeline, self._dones = chain(3, self._source)
        for done in self._dones:
            done.data.update(dict.fromkeys(jobs, SUCCESS))
        self._rounds = asyncio.Queue[None]()
        self._controller: Controller | None = None
        self.first_look = 0.0
        """Listing the stores included; known within :meth:`watched`."""

    async def listing(self) -> float:
        """Give what listing the stores takes by itself."""
        began = time.process_time()
        for repo in [self._source, *self._dones]:
            async for page in repo.pages():
                del page
        return time.process_time() - began

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Have a controller look, and stay."""
        async with self._pipeline as pipeline:
            began = time.process_time()
            self._controller = pipeline.make_controller(
                [lambda event: self._rounds.put_nowait(None) if isinstance(event, RoundDone) else None]
            )
            running = asyncio.ensure_future(self._controller.run(forever=True))
            try:
                await self._rounds.get()
                self.first_look = time.process_time() - began
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def idle_round(self, repeats: int) -> float:
        """Give what a round takes in which nothing has changed."""
        assert self._controller is not None
        began = time.process_time()
        for _ in range(repeats):
            self._controller._changed.set()
            await self._rounds.get()
        return (time.process_time() - began) / repeats

    async def event(self, jobs: int) -> float:
        """Give what each of the eight events takes that a new job causes, its three runs included."""
        last = self._dones[-1].data
        expected = len(last) + jobs
        began = time.process_time()
        for number in range(jobs):
            await self._source.dump(f"new{number}", SUCCESS)
        while len(last) < expected:
            await asyncio.sleep(0)
        return (time.process_time() - began) / jobs / 8
