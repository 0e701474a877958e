"""What every blob repository promises: publication on a clean close alone, and streams in bounded memory."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import tracemalloc
import warnings
from typing import Any, ClassVar, Literal, TypeVar, cast

import pytest
from typing_extensions import override

from ..errors import JobIdError, MalformedValueError, MissingJobError
from ..repository.protocols import BlobRepository
from ..streams import BlobReader, BlobWriter, TextReader, TextWriter, copy
from .metadata import assert_names
from .repositories import RepositoryTests
from .suite import INVALID_JOBS, AbsentInfo, cut_short, listed

__all__ = ["BlobRepositoryTests"]

B = TypeVar("B", bound=BlobRepository)

MIB = 1024 * 1024
MODES: tuple[Any, ...] = ("r", "rb", "w", "wb")
TEXT = "line\r\nline\rline\n\n\u00e9\u20ac\U0001f600\u2028end\0"


def alike(found: object, wanted: bytes) -> bool:
    """Compare large values. Of a plain comparison pytest would explain the difference, for minutes."""
    return found == wanted


class BlobRepositoryTests(RepositoryTests[B]):
    """The promises of a blob repository. :meth:`peek` gives the stored bytes."""

    writable = True
    absent_info: ClassVar[AbsentInfo] = "given"
    bounded_memory: ClassVar[bool] = True
    """Reading and writing need memory that does not grow with the value."""
    memory_bound: ClassVar[int] = 24 * MIB
    """Bytes that reading or writing a value of :attr:`big` bytes may take."""
    big: ClassVar[int] = 64 * MIB
    """Bytes of the value in tests of bounded memory."""

    @override
    async def put(self, repo: B, job: str, value: Any) -> None:
        async with await repo.open(job, "wb") as writer:
            await writer.write(value)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("job", INVALID_JOBS)
    async def test_an_invalid_job_id_is_refused_by_open(self, repo: B, job: str, mode: Literal["r"]) -> None:
        with pytest.raises(JobIdError) as caught:
            await repo.open(job, mode)
        assert isinstance(caught.value, KeyError)

    @pytest.mark.parametrize("mode", ["", "x", "a", "rw", "r+", "br", "rt", "W"])
    async def test_another_mode_is_a_value_error_and_harms_nothing(self, repo: B, mode: str) -> None:
        await self.poke(repo, "job", b"kept")
        with pytest.raises(ValueError, match="mode"):
            await repo.open("job", cast(Literal["r"], mode))
        assert await self.peek(repo, "job") == b"kept"

    @pytest.mark.parametrize("mode", ["r", "rb"])
    async def test_reading_an_absent_job_is_an_error(self, repo: B, mode: Literal["r"]) -> None:
        with pytest.raises(MissingJobError) as caught:
            async with await repo.open("job", mode) as reader:
                await reader.read()
        assert isinstance(caught.value, LookupError)
        assert "job" in str(caught.value)
        assert await listed(repo) == []

    async def test_each_mode_gives_its_stream(self, repo: B) -> None:
        await self.poke(repo, "job", b"x")
        for mode, kind in (("r", TextReader), ("rb", BlobReader), ("w", TextWriter), ("wb", BlobWriter)):
            async with await repo.open("job", cast(Literal["r"], mode)) as stream:
                assert isinstance(stream, kind)
        await self.poke(repo, "job", b"x")
        async with await repo.open("job") as default:
            assert isinstance(default, TextReader)

    # publication

    async def test_a_writer_publishes_on_a_clean_close_and_at_no_other_time(self, repo: B) -> None:
        async with await repo.open("job", "wb") as writer:
            assert await self.peek(repo, "job") is None
            for part in (b"half ", b"x" * MIB, b" whole"):
                assert await writer.write(part) == len(part)
                assert await self.peek(repo, "job") is None
                assert not await repo.contains("job")
                assert await listed(repo) == []
        assert alike(await self.peek(repo, "job"), b"half " + b"x" * MIB + b" whole")
        assert await listed(repo) == ["job"]

    async def test_an_explicit_close_publishes_and_may_be_repeated(self, repo: B) -> None:
        writer = await repo.open("job", "wb")
        await writer.write(b"value")
        await writer.close()
        assert await self.peek(repo, "job") == b"value"
        await self.poke(repo, "job", b"newer")
        await writer.close()
        await writer.abort()
        assert await self.peek(repo, "job") == b"newer", "closing again published again"

    async def test_an_empty_value_is_a_value(self, repo: B) -> None:
        async with await repo.open("job", "wb"):
            pass
        assert await self.peek(repo, "job") == b""
        assert await repo.contains("job")
        async with await repo.open("job", "rb") as reader:
            assert await reader.read() == b""

    @pytest.mark.parametrize("size", [0, 10, 9 * MIB])
    async def test_an_exception_discards_and_keeps_the_earlier_value(self, repo: B, size: int) -> None:
        await self.poke(repo, "old", b"earlier")
        for job in ("old", "fresh"):
            with pytest.raises(ZeroDivisionError):
                async with await repo.open(job, "wb") as writer:
                    await writer.write(b"x" * size)
                    raise ZeroDivisionError
        assert await self.peek(repo, "old") == b"earlier"
        assert await self.peek(repo, "fresh") is None
        assert await listed(repo) == ["old"]

    @pytest.mark.parametrize("size", [0, 10, 9 * MIB])
    async def test_cancellation_discards_and_keeps_the_earlier_value(self, repo: B, size: int) -> None:
        await self.poke(repo, "old", b"earlier")
        for job in ("old", "fresh"):
            written = asyncio.Event()

            async def write(job: str = job, written: asyncio.Event = written) -> None:
                async with await repo.open(job, "wb") as writer:
                    await writer.write(b"x" * size)
                    written.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(write())
            async with asyncio.timeout(self.deadline):
                await written.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert await self.peek(repo, "old") == b"earlier"
        assert await self.peek(repo, "fresh") is None
        assert await listed(repo) == ["old"]

    async def test_cancellation_at_any_moment_leaves_the_old_value_or_the_new(self, repo: B) -> None:
        old, new = b"old" * 100_000, b"new" * 100_000
        for turns in range(20):
            await self.poke(repo, "job", old)
            await cut_short(self.put(repo, "job", new), turns)
            assert await self.peek(repo, "job") in (old, new)
            await cut_short(self.put(repo, f"fresh{turns}", new), turns)
            assert await self.peek(repo, f"fresh{turns}") in (None, new)

    async def test_abort_discards_and_may_be_repeated(self, repo: B) -> None:
        await self.poke(repo, "job", b"earlier")
        writer = await repo.open("job", "wb")
        await writer.write(b"later")
        await writer.abort()
        await writer.abort()
        await writer.close()
        assert await self.peek(repo, "job") == b"earlier"
        async with await repo.open("other", "w") as text:
            await text.write("gone")
            await text.abort()
        assert await listed(repo) == ["job"]

    async def test_a_writer_that_is_never_closed_publishes_nothing(self, repo: B) -> None:
        await self.poke(repo, "job", b"earlier")
        writers = [await repo.open(job, "wb") for job in ("job", "fresh")]
        for writer in writers:
            await writer.write(b"x" * MIB)
        with warnings.catch_warnings():
            # A dropped writer may complain. It must not publish.
            warnings.simplefilter("ignore", ResourceWarning)
            del writer
            writers.clear()
            gc.collect()
        assert await self.peek(repo, "job") == b"earlier"
        assert await listed(repo) == ["job"]

    async def test_the_last_writer_to_close_wins(self, repo: B) -> None:
        first, second = await repo.open("job", "wb"), await repo.open("job", "wb")
        await first.write(b"first")
        await second.write(b"second")
        await second.close()
        assert await self.peek(repo, "job") == b"second"
        await first.close()
        assert await self.peek(repo, "job") == b"first"

    async def test_a_replaced_value_is_old_or_new_to_readers(self, repo: B) -> None:
        values = [letter * MIB for letter in (b"a", b"b", b"c")]
        await self.put(repo, "job", values[0])

        async def replace() -> None:
            for value in values * 5:
                await self.put(repo, "job", value)
                await asyncio.sleep(0)

        writing = asyncio.create_task(replace())
        while not writing.done():
            await asyncio.sleep(0)
            parts: list[bytes] = []
            async with await repo.open("job", "rb") as reader:
                while part := await reader.read(128 * 1024):
                    parts.append(part)
            assert b"".join(parts) in values, "a reader saw parts of two values"
        await writing

    async def test_a_value_written_while_it_is_read_leaves_the_reader_whole(self, repo: B) -> None:
        await self.put(repo, "job", b"a" * MIB)
        async with await repo.open("job", "rb") as reader:
            start = await reader.read(10)
            await self.put(repo, "job", b"b" * MIB)
            assert alike(start + await reader.read(), b"a" * MIB)

    async def test_many_writers_at_once_do_not_mix(self, repo: B) -> None:
        async def write(n: int) -> None:
            async with await repo.open(f"job{n}", "wb") as writer:
                for _ in range(10):
                    await writer.write(f"{n},".encode() * 100)

        await asyncio.gather(*(write(n) for n in range(20)))
        for n in range(20):
            assert alike(await self.peek(repo, f"job{n}"), f"{n},".encode() * 1000)

    # streams

    async def test_read_gives_at_most_n_bytes_and_moves_on(self, repo: B) -> None:
        value = bytes(range(256)) * 40
        await self.poke(repo, "job", value)
        async with await repo.open("job", "rb") as reader:
            assert await reader.read(0) == b""
            found = b""
            while part := await reader.read(1000):
                assert len(part) <= 1000
                found += part
            assert alike(found, value)
            assert await reader.read(1000) == b""
            assert await reader.read() == b""

    async def test_read_without_a_number_gives_the_rest(self, repo: B) -> None:
        await self.poke(repo, "job", b"0123456789")
        async with await repo.open("job", "rb") as reader:
            start = await reader.read(4)
            assert start + await reader.read() == b"0123456789"
            assert await reader.read() == b""
        async with await repo.open("job", "rb") as reader:
            assert await reader.read(-1) == b"0123456789"

    async def test_text_is_utf8_with_untouched_line_ends(self, repo: B) -> None:
        async with await repo.open("job", "w") as writer:
            assert await writer.write(TEXT) == len(TEXT)
        assert await self.peek(repo, "job") == TEXT.encode("utf-8")
        async with await repo.open("job", "r") as reader:
            assert await reader.read() == TEXT
        async with await repo.open("job") as reader:
            found = ""
            while part := await reader.read(1):
                assert len(part) == 1
                found += part
            assert found == TEXT

    async def test_text_that_is_not_utf8_is_named(self, repo: B) -> None:
        await self.poke(repo, "job", b"caf\xe9 au lait")
        async with await repo.open("job") as reader:
            with pytest.raises(MalformedValueError) as caught:
                await reader.read()
        assert_names(caught.value, repo, "job")
        await self.poke(repo, "cut", "\u20ac".encode()[:2])
        async with await repo.open("cut") as reader:
            with pytest.raises(MalformedValueError):
                while await reader.read(1):
                    pass

    async def test_a_closed_reader_refuses_to_read(self, repo: B) -> None:
        await self.poke(repo, "job", b"value")
        async with await repo.open("job", "rb") as reader:
            await reader.read(1)
        with pytest.raises(ValueError, match="closed"):
            await reader.read(1)
        await reader.close()
        text = await repo.open("job")
        await text.close()
        await text.close()
        with pytest.raises(ValueError, match="closed"):
            await text.read()

    async def test_a_closed_or_aborted_writer_refuses_to_write(self, repo: B) -> None:
        closed, aborted = await repo.open("job", "wb"), await repo.open("job", "w")
        await closed.close()
        await aborted.abort()
        with pytest.raises(ValueError, match="closed"):
            await closed.write(b"more")
        with pytest.raises(ValueError, match="closed"):
            await aborted.write("more")
        assert await self.peek(repo, "job") == b""

    async def test_a_value_is_copied_from_job_to_job(self, repo: B) -> None:
        value = bytes(range(256)) * 10_000
        await self.poke(repo, "source", value)
        async with await repo.open("source", "rb") as reader, await repo.open("target", "wb") as writer:
            assert await copy(reader, writer) == len(value)
        assert alike(await self.peek(repo, "target"), value)

    async def test_a_value_of_any_size_takes_bounded_memory(self, repo: B) -> None:
        self.need(bounded_memory=self.bounded_memory)
        chunk = bytes(range(256)) * 4096
        wanted, found = hashlib.sha256(), hashlib.sha256()
        tracemalloc.start()
        try:
            async with await repo.open("job", "wb") as writer:
                for _ in range(self.big // len(chunk)):
                    await writer.write(chunk)
                    wanted.update(chunk)
            _, writing = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            async with await repo.open("job", "rb") as reader:
                while part := await reader.read(MIB):
                    found.update(part)
            _, reading = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found.digest() == wanted.digest()
        assert writing < self.memory_bound, f"writing took {writing / MIB:.1f} MiB"
        assert reading < self.memory_bound, f"reading took {reading / MIB:.1f} MiB"
