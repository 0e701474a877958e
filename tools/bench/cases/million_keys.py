"""One million keys in a chain of three tasks: the first look, an idle round, an event, memory for each job."""

from __future__ import annotations

from ..harness import Case, Figures, Memory
from ..standing import Standing

__all__ = ["CASE"]

KEYS = 1_000_000


async def measure() -> Figures:
    chain = Standing(KEYS)
    bare = await chain.listing()
    memory = Memory()
    async with chain.watched():
        per_job = memory.peak_mib() * 1024 * 1024 / KEYS
        idle = await chain.idle_round(1000)
        event = await chain.event(2000)
    return {
        "keys": KEYS,
        "listing_cpu_seconds": round(bare, 3),
        "first_look_cpu_seconds_beyond_listing": round(chain.first_look - bare, 3),
        "idle_round_cpu_microseconds": round(idle * 1e6, 1),
        "event_to_done_cpu_microseconds": round(event * 1e6, 1),
        "bytes_per_job": round(per_job),
    }


CASE = Case(
    "million-keys",
    "first look under 10 s beyond listing, idle round under 1 ms, event under 50 us, under 200 bytes a job",
    measure,
)
