"""One million keys in a chain of three tasks: the first look, an idle round, an event, memory for each job."""

from __future__ import annotations

import asyncio
import time

from pydatatask_core import InProcessMetadataRepository
from pydatatask_core.pipeline.events import RoundDone

from ..chains import chain
from ..harness import Case, Figures, Memory

__all__ = ["CASE"]

KEYS = 1_000_000
EVENTS = 2000
SUCCESS = {"result": "success"}


async def listing(repos: list[InProcessMetadataRepository]) -> float:
    """CPU seconds that listing the stores takes by itself."""
    began = time.process_time()
    for repo in repos:
        async for page in repo.pages():
            del page
    return time.process_time() - began


async def measure() -> Figures:
    jobs = [f"job{number:07}" for number in range(KEYS)]
    source = InProcessMetadataRepository(dict.fromkeys(jobs, SUCCESS))
    pipeline, dones = chain(3, source)
    for done in dones:
        done.data.update(dict.fromkeys(jobs, SUCCESS))
    bare = await listing([source, *dones])
    memory = Memory()
    async with pipeline:
        began = time.process_time()
        rounds = asyncio.Queue[None]()
        controller = pipeline.make_controller(
            [lambda event: rounds.put_nowait(None) if isinstance(event, RoundDone) else None]
        )
        running = asyncio.ensure_future(controller.run(forever=True))
        await rounds.get()
        look = time.process_time() - began
        per_job = memory.peak_mib() * 1024 * 1024 / KEYS
        idle = await idle_round(rounds, controller._changed)
        event = await one_event(source, dones[-1])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return {
        "keys": KEYS,
        "listing_cpu_seconds": round(bare, 3),
        "first_look_cpu_seconds_beyond_listing": round(look - bare, 3),
        "idle_round_cpu_microseconds": round(idle * 1e6, 1),
        "event_to_done_cpu_microseconds": round(event * 1e6, 1),
        "bytes_per_job": round(per_job),
    }


async def idle_round(rounds: asyncio.Queue[None], changed: asyncio.Event) -> float:
    began = time.process_time()
    for _ in range(1000):
        changed.set()
        await rounds.get()
    return (time.process_time() - began) / 1000


async def one_event(source: InProcessMetadataRepository, last: InProcessMetadataRepository) -> float:
    """CPU seconds for each of the eight events that a new job causes, its three runs included."""
    began = time.process_time()
    for number in range(EVENTS):
        await source.dump(f"new{number}", SUCCESS)
    while len(last.data) < KEYS + EVENTS:
        await asyncio.sleep(0)
    return (time.process_time() - began) / EVENTS / 8


CASE = Case(
    "million-keys",
    "first look under 10 s beyond listing, idle round under 1 ms, event under 50 us, under 200 bytes a job",
    measure,
)
