"""What every metadata repository promises: what is dumped comes back equal, and is published whole or not at all."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from typing_extensions import override

from ..errors import JobIdError, MalformedValueError
from ..repository.protocols import MetadataRepository
from .repositories import RepositoryTests
from .suite import INVALID_JOBS, cut_short, listed
from .values import as_stored, json_like, same

__all__ = ["MetadataRepositoryTests"]

M = TypeVar("M", bound=MetadataRepository)


def _endless() -> list[Any]:
    data: list[Any] = []
    data.append(data)
    return data


def _deep() -> list[Any]:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    return data


UNSTORABLE: dict[str, Callable[[], Any]] = {
    "an object": object,
    "a set": lambda: {1, 2},
    "a function": lambda: print,
    "an integer key": lambda: {1: "one"},
    "an integer of 65 bits": lambda: 2**64,
    "just too large": lambda: 2**63,
    "just too small": lambda: -(2**63) - 1,
    "a lone surrogate": lambda: "\ud800",
    "a lone surrogate as key": lambda: {"\ud800": 1},
    "a complex number": lambda: 1j,
    "itself": _endless,
    "a deep nest": _deep,
}


class MetadataRepositoryTests(RepositoryTests[M]):
    """The promises of a metadata repository. :meth:`peek` gives the stored data as plain Python data."""

    writable = True
    values: ClassVar[tuple[Any, Any]] = ({"value": "first"}, {"value": "second"})
    broken: ClassVar[Any] = b"\xff{]: ["
    """What :meth:`poke_raw` can store and the repository cannot read; None if the store lets nothing broken in."""
    examples: ClassVar[int] = 60
    """How many generated values make the round trip."""
    phases: ClassVar[tuple[Phase, ...]] = tuple(set(Phase) - {Phase.explain})
    """What Hypothesis does with them."""

    @override
    async def put(self, repo: M, job: str, value: Any) -> None:
        await repo.dump(job, value)

    @pytest.mark.parametrize("job", INVALID_JOBS)
    async def test_an_invalid_job_id_is_refused_by_dump(self, repo: M, job: str) -> None:
        with pytest.raises(JobIdError) as caught:
            await repo.dump(job, self.values[0])
        assert isinstance(caught.value, KeyError)
        assert await listed(repo) == []

    async def test_what_is_dumped_comes_back(self, repo: M) -> None:
        async def check(data: Any) -> None:
            await repo.dump("job", data)
            found = await repo.info("job")
            assert same(found, as_stored(data)), f"{data!r} came back as {found!r}"

        patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
        await explore(check, settings(patient, max_examples=self.examples, phases=self.phases))

    async def test_what_is_dumped_is_in_the_store(self, repo: M) -> None:
        data = {"text": "caf\u00e9", "numbers": [1, 2.5, True, None], "nested": {"": [[], {}]}}
        await repo.dump("job", data)
        assert await self.peek(repo, "job") == data
        await repo.dump("job", {})
        assert await self.peek(repo, "job") == {}

    async def test_what_others_store_is_read(self, repo: M) -> None:
        data = {"text": "caf\u00e9", "numbers": [1, 2.5, True, None]}
        await self.poke(repo, "job", data)
        assert await repo.info("job") == data
        assert await repo.info_all() == {"job": data}

    @pytest.mark.parametrize("data", [None, "", 0, False, [], {}], ids=repr)
    async def test_an_empty_value_is_a_value(self, repo: M, data: Any) -> None:
        await repo.dump("job", data)
        assert same(await repo.info("job"), data)
        assert await repo.contains("job")
        assert await listed(repo) == ["job"]

    @pytest.mark.parametrize("edge", [2**63 - 1, -(2**63), 2**53 + 1, 5e-324, 1.7976931348623157e308, 0.1])
    async def test_numbers_keep_every_bit(self, repo: M, edge: float) -> None:
        await repo.dump("job", [edge])
        assert same(await repo.info("job"), [edge])

    @pytest.mark.parametrize("edge", [math.inf, -math.inf, math.nan], ids=str)
    async def test_numbers_that_json_lacks_come_back(self, repo: M, edge: float) -> None:
        await repo.dump("job", {"alone": edge, "inside": [edge, 1.0]})
        found = await repo.info("job")
        assert [type(number) for number in (found["alone"], *found["inside"])] == [float] * 3
        assert [str(number) for number in (found["alone"], *found["inside"])] == [str(edge), str(edge), "1.0"]

    async def test_datetimes_come_back_aware_in_utc_and_truncated_to_milliseconds(self, repo: M) -> None:
        moment = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
        await repo.dump("job", [moment, moment.replace(tzinfo=None)])
        assert same(
            await repo.info("job"),
            [
                datetime(2024, 3, 1, 5, 29, 59, 999_000, tzinfo=UTC),
                datetime(2024, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC),
            ],
        )

    async def test_tuples_become_lists(self, repo: M) -> None:
        await repo.dump("job", {"pair": (1, (2, 3))})
        assert same(await repo.info("job"), {"pair": [1, [2, 3]]})

    async def test_the_callers_object_is_neither_kept_nor_changed(self, repo: M) -> None:
        data: dict[str, Any] = {"list": [1, 2], "pair": (1, 2), "when": datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)}
        before = copy.deepcopy(data)
        await repo.dump("job", data)
        assert data == before
        assert type(data["pair"]) is tuple
        data["list"].append(3)
        data["new"] = True
        assert await repo.info("job") == as_stored(before)

    async def test_what_info_gives_belongs_to_the_caller(self, repo: M) -> None:
        await repo.dump("job", {"list": [1, 2]})
        found = await repo.info("job")
        found["list"].append(3)
        assert await repo.info("job") == {"list": [1, 2]}
        everything = await repo.info_all()
        everything["job"]["list"].append(3)
        assert await repo.info("job") == {"list": [1, 2]}

    @pytest.mark.parametrize("kind", UNSTORABLE)
    @pytest.mark.parametrize("where", ["alone", "inside"])
    async def test_data_that_cannot_be_stored_is_refused_and_the_earlier_value_stays(
        self, repo: M, kind: str, where: str
    ) -> None:
        await repo.dump("job", self.values[0])
        bad = UNSTORABLE[kind]()
        with pytest.raises(MalformedValueError) as caught:
            await repo.dump("job", bad if where == "alone" else {"deep": [{"bad": bad}]})
        assert_names(caught.value, repo, "job")
        assert await self.peek(repo, "job") == self.values[0]
        with pytest.raises(MalformedValueError):
            await repo.dump("absent", bad)
        assert await listed(repo) == ["job"]

    async def test_a_broken_value_is_named_and_the_others_are_read(self, repo: M) -> None:
        self.need(broken=self.broken is not None)
        await self.poke_raw(repo, "bad", self.broken)
        await repo.dump("good", self.values[0])
        with pytest.raises(MalformedValueError) as caught:
            await repo.info("bad")
        assert_names(caught.value, repo, "bad")
        assert await repo.info("good") == self.values[0]
        assert sorted(await listed(repo)) == ["bad", "good"]
        await repo.dump("bad", self.values[1])
        assert await repo.info("bad") == self.values[1]

    async def test_a_replaced_value_is_old_or_new_to_readers(self, repo: M) -> None:
        values = [{"fill": [letter] * 1000} for letter in "abcd"]
        await repo.dump("job", values[0])
        writing = asyncio.create_task(_dump_all(repo, values * 5))
        while not writing.done():
            await asyncio.sleep(0)
            assert await repo.info("job") in values
            assert await repo.contains("job")
        await writing
        assert await repo.info("job") == values[-1]

    async def test_a_cancelled_dump_leaves_the_old_value_or_the_new(self, repo: M) -> None:
        old, new = {"fill": ["old"] * 500}, {"fill": ["new"] * 500}
        for turns in range(12):
            await repo.dump("job", old)
            await cut_short(repo.dump("job", new), turns)
            assert await repo.info("job") in (old, new)
            await cut_short(repo.dump(f"fresh{turns}", new), turns)
            if await repo.contains(f"fresh{turns}"):
                assert await repo.info(f"fresh{turns}") == new

    async def test_a_large_value_comes_back(self, repo: M) -> None:
        data = {"rows": [{"n": n, "text": f"row {n}"} for n in range(2000)]}
        await repo.dump("job", data)
        assert await repo.info("job") == data


async def _dump_all(repo: MetadataRepository, values: list[Any]) -> None:
    for value in values:
        await repo.dump("job", value)
        await asyncio.sleep(0)


def assert_names(error: Exception, repo: object, job: str) -> None:
    """Fail unless the message names repository and job."""
    assert repr(repo) in str(error)
    assert repr(job) in str(error)


async def explore(check: Callable[[Any], Awaitable[None]], how: settings) -> None:
    """Run ``check`` on this event loop with generated data; Hypothesis itself runs in a thread."""
    loop = asyncio.get_running_loop()

    async def checked(data: Any) -> None:
        await check(data)

    @how
    @given(json_like())
    def explored(data: Any) -> None:
        asyncio.run_coroutine_threadsafe(checked(data), loop).result()

    await asyncio.to_thread(explored)
