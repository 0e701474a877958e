"""Text over bytes, whatever the pieces the bytes come in, and copying."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.repository.memory import InProcessBlobRepository
from pydatatask_core.streams import BlobReader, BlobWriter, TextReader, TextWriter, copy
from typing_extensions import override


class Trickle(BlobReader):
    """Gives its bytes in pieces of the given sizes, however many were asked for."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes
        self.asked: list[int] = []
        self.closed = 0

    @override
    async def read(self, n: int = -1, /) -> bytes:
        self.asked.append(n)
        if n < 0:
            n = len(self.data)
        elif self.sizes:
            n = min(n, self.sizes.pop())
        piece, self.data = self.data[:n], self.data[n:]
        return piece

    @override
    async def close(self) -> None:
        self.closed += 1


class Sink(BlobWriter):
    def __init__(self) -> None:
        self.data = b""
        self.end = ""

    @override
    async def write(self, data: bytes, /) -> int:
        self.data += data
        return len(data)

    @override
    async def close(self) -> None:
        self.end += "closed"

    @override
    async def abort(self) -> None:
        self.end += "aborted"


texts = st.text(
    st.sampled_from("a\u00e9\u20ac\U0001f600\r\n\0") | st.characters(exclude_categories=["Cs"]), max_size=30
)


@given(text=texts, sizes=st.lists(st.integers(1, 5)), asks=st.lists(st.integers(0, 7), max_size=10))
async def test_characters_split_between_reads_come_out_whole(text: str, sizes: list[int], asks: list[int]) -> None:
    reader = TextReader(Trickle(text.encode(), sizes), "the text")
    at = 0
    for n in asks:
        found = await reader.read(n)
        assert found == text[at : at + n]
        at += len(found)
    assert await reader.read() == text[at:]
    assert await reader.read() == ""
    assert await reader.read(1) == ""


@given(text=texts, n=st.integers(1, 5), sizes=st.lists(st.integers(1, 3)))
async def test_reading_piece_by_piece_gives_full_pieces_until_the_end(text: str, n: int, sizes: list[int]) -> None:
    reader = TextReader(Trickle(text.encode(), sizes), "the text")
    pieces: list[str] = []
    while piece := await reader.read(n):
        pieces.append(piece)
    assert pieces == [text[at : at + n] for at in range(0, len(text), n)]


async def test_a_cancelled_read_loses_no_text() -> None:
    waiting = asyncio.Event()

    class Stuck(Trickle):
        @override
        async def read(self, n: int = -1, /) -> bytes:
            if len(self.asked) == 2:
                self.asked.append(n)
                waiting.set()
                await asyncio.Event().wait()
            return await super().read(n)

    reader = TextReader(Stuck("\u20acuro and more".encode(), [2, 2]), "the text")
    task = asyncio.create_task(reader.read(10))
    async with asyncio.timeout(20):
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await reader.read(1) == "\u20ac"
    assert await reader.read(3) == "uro"
    assert await reader.read() == " and more"


async def test_reading_some_text_asks_for_no_more_bytes_than_characters() -> None:
    source = Trickle(b"x" * 10_000, [])
    await TextReader(source, "the text").read(10)
    assert max(source.asked) <= 10


async def test_reading_no_characters_asks_for_nothing() -> None:
    source = Trickle(b"x", [])
    assert await TextReader(source, "the text").read(0) == ""
    assert source.asked == []


@pytest.mark.parametrize(
    "raw", [b"\xff", b"ok \xe9 ok", "\u20ac".encode()[:2], "\U0001f600".encode()[:3], b"\xed\xa0\x80", b"\xc0\xaf"]
)
@pytest.mark.parametrize("n", [-1, 1, 100])
async def test_bytes_that_are_not_utf8_are_named_with_what_to_do(raw: bytes, n: int) -> None:
    reader = TextReader(Trickle(raw, []), "job 'a' in <store>")

    async def read() -> None:
        while await reader.read(n):
            pass

    with pytest.raises(MalformedValueError, match=r"job 'a' in <store> as text: it is not UTF-8 .* with mode 'rb'"):
        await read()


async def test_a_byte_order_mark_is_part_of_the_text() -> None:
    assert await TextReader(Trickle(b"\xef\xbb\xbfx", []), "the text").read() == "\ufeffx"


async def test_closing_text_closes_the_bytes() -> None:
    source = Trickle(b"", [])
    async with TextReader(source, "the text"):
        pass
    assert source.closed == 1
    with pytest.raises(ZeroDivisionError):
        async with TextReader(source, "the text"):
            raise ZeroDivisionError
    assert source.closed == 2


@given(st.lists(texts))
async def test_text_is_written_as_utf8_and_counted_in_characters(parts: list[str]) -> None:
    sink = Sink()
    async with TextWriter(sink) as writer:
        for part in parts:
            assert await writer.write(part) == len(part)
    assert sink.data.decode() == "".join(parts)
    assert sink.end == "closed"


async def test_a_text_writer_left_by_an_exception_aborts() -> None:
    sink = Sink()
    with pytest.raises(ZeroDivisionError):
        async with TextWriter(sink):
            raise ZeroDivisionError
    assert sink.end == "aborted"
    await TextWriter(sink).abort()
    assert sink.end == "abortedaborted"


async def test_text_that_utf8_cannot_say_discards_the_value() -> None:
    repo = InProcessBlobRepository({"job": b"earlier"})

    async def write() -> None:
        async with await repo.open("job", "w") as writer:
            await writer.write("fine")
            await writer.write("\ud800")

    with pytest.raises(UnicodeEncodeError):
        await write()
    assert repo.data == {"job": b"earlier"}


@given(data=st.binary(max_size=200), sizes=st.lists(st.integers(1, 50)), chunk=st.integers(1, 60))
async def test_copy_moves_what_is_left_and_closes_neither(data: bytes, sizes: list[int], chunk: int) -> None:
    source, sink = Trickle(data, sizes), Sink()
    start = await source.read(3)
    assert await copy(source, sink, chunk) == len(data) - len(start)
    assert start + sink.data == data
    assert all(n in (3, chunk) for n in source.asked)
    assert source.closed == 0
    assert sink.end == ""
