"""A user's own repository of three methods drives a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pydatatask
from programs import DEADLINE
from pydatatask_core.pipeline.feed import Polling
from typing_extensions import override


class Tickets(pydatatask.Repository):
    """Lines of a file, ``NAME TEXT``: a store that this project knows nothing of."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.touch()

    @override
    async def unfiltered_iter(self) -> AsyncIterator[str]:
        for name in self.read():
            yield name

    @override
    async def info(self, job: str, /) -> str:
        return self.read().get(job, "")

    @override
    async def delete(self, job: str, /) -> None:
        self.write({name: text for name, text in self.read().items() if name != job})

    def read(self) -> dict[str, str]:
        pairs = (line.partition(" ") for line in self.file.read_text().splitlines())
        return {name: text for name, _, text in pairs}

    def write(self, tickets: dict[str, str]) -> None:
        self.file.write_text("".join(f"{name} {text}\n" for name, text in tickets.items()))

    def add(self, **tickets: str) -> None:
        self.write(self.read() | tickets)


async def test_it_is_an_input_and_keys_that_are_no_job_ids_are_left_out(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path / "tickets")
    tickets.write({"one": "first", "two": "second", "-not-a-job-": "third"})
    answers = pydatatask.InProcessMetadataRepository()
    pipeline, _ = answering(tickets, answers)

    async with pipeline:
        await pipeline.run()

    assert answers.data == {"one": "FIRST", "two": "SECOND"}


async def test_what_is_added_while_the_pipeline_runs_is_found_by_polling(tmp_path: Path) -> None:
    tickets = Tickets(tmp_path / "tickets")
    tickets.add(one="first")
    answers = pydatatask.InProcessMetadataRepository()
    pipeline, answered = answering(tickets, answers)
    pipeline.polling = Polling(shortest=0.02, longest=0.1)

    async with pipeline, asyncio.timeout(DEADLINE):
        running = asyncio.ensure_future(pipeline.run(forever=True))
        await answered.acquire()
        tickets.add(two="second")
        await answered.acquire()
        running.cancel()
        await asyncio.wait({running})

    assert answers.data["two"] == "SECOND"


async def test_its_delete_serves_a_task_that_takes_tickets_off(tmp_path: Path) -> None:
    open_tickets = Tickets(tmp_path / "open")
    open_tickets.add(one="first", two="second", three="third")
    done = pydatatask.InProcessMetadataRepository()

    @pydatatask.InProcessSyncTask("close", done)
    async def close(job: str, tickets: Tickets) -> None:
        if job != "two":
            await tickets.delete(job)

    close.link("tickets", open_tickets, is_input=True)
    async with pydatatask.Pipeline([close], pydatatask.Session()) as pipeline:
        await pipeline.run()

    assert open_tickets.read() == {"two": "second"}
    assert set(done.data) == {"one", "two", "three"}


async def test_what_a_task_writes_to_it_unannounced_starts_the_next_task(tmp_path: Path) -> None:
    inputs = pydatatask.InProcessMetadataRepository({"one": "first", "two": "second"})
    between = Tickets(tmp_path / "between")
    filed = pydatatask.InProcessMetadataRepository()
    answers = pydatatask.InProcessMetadataRepository()

    @pydatatask.InProcessSyncTask("file", filed)
    async def file(job: str, inputs: pydatatask.InProcessMetadataRepository, between: Tickets) -> None:
        between.add(**{job: await inputs.info(job)})

    file.link("inputs", inputs, is_input=True)
    file.link("between", between, is_output=True)
    next_pipeline, _ = answering(between, answers)
    tasks = [file, *next_pipeline.tasks.values()]
    async with pydatatask.Pipeline(tasks, pydatatask.Session()) as pipeline:
        pipeline.polling = Polling(shortest=3600, longest=3600)
        async with asyncio.timeout(DEADLINE):
            await pipeline.run()

    assert answers.data == {"one": "FIRST", "two": "SECOND"}


def answering(
    tickets: Tickets, answers: pydatatask.InProcessMetadataRepository
) -> tuple[pydatatask.Pipeline, asyncio.Semaphore]:
    """Give a pipeline that answers each ticket, and a semaphore released for each answer."""
    answered = asyncio.Semaphore(0)

    @pydatatask.InProcessSyncTask("answer", pydatatask.InProcessMetadataRepository())
    async def answer(job: str, tickets: Tickets, answers: pydatatask.InProcessMetadataRepository) -> None:
        await answers.dump(job, (await tickets.info(job)).upper())
        answered.release()

    answer.link("tickets", tickets, is_input=True)
    answer.link("answers", answers, is_output=True)
    return pydatatask.Pipeline([answer], pydatatask.Session()), answered
