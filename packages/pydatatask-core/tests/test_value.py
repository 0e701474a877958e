"""What structured data may hold, and what becomes of it."""

from __future__ import annotations

import enum
from collections import OrderedDict, UserDict, defaultdict
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.repository.value import plain
from pydatatask_core.testing import as_stored, json_like, same
from typing_extensions import override

BRIEFLY = settings(max_examples=40)


class Text(str):
    __slots__ = ()


class Color(str, enum.Enum):  # noqa: UP042  # the older form shows its member's name as str()
    RED = "red"


class Shade(enum.StrEnum):
    DARK = "dark"


class Level(enum.IntEnum):
    HIGH = 2**40


class Ratio(float):
    pass


class Moment(datetime):
    pass


class Point(NamedTuple):
    x: int
    y: int


@BRIEFLY
@given(json_like())
def test_json_datetimes_and_bytes_are_kept(data: Any) -> None:
    assert same(plain(data, "job", "repo"), as_stored(data))


@BRIEFLY
@given(json_like())
def test_plain_data_stays_as_it_is(data: Any) -> None:
    once = plain(data, "job", "repo")
    assert same(plain(once, "job", "repo"), once)


@BRIEFLY
@given(json_like())
def test_nothing_that_can_change_is_shared(data: Any) -> None:
    def containers(value: Any) -> list[Any]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        here = [value] if isinstance(value, dict | list) else []
        return here + [found for item in inner for found in containers(item)]

    copied = plain(data, "job", "repo")
    assert not {id(item) for item in containers(data)} & {id(item) for item in containers(copied)}


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (Text("text"), "text"),
        (Color.RED, "red"),
        (Shade.DARK, "dark"),
        (Level.HIGH, 2**40),
        (Ratio(0.5), 0.5),
        (Point(1, 2), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (UserDict(a=(1,)), {"a": [1]}),
        ({Text("key"): 1, Color.RED: 2, Shade.DARK: 3}, {"key": 1, "red": 2, "dark": 3}),
        (Moment(2024, 1, 2, 3, 4, 5, 6789, tzinfo=UTC), datetime(2024, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)),
        (Moment(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC)),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_subclasses_and_relatives_become_their_base(given: object, stored: object) -> None:
    found = plain(given, "job", "repo")
    assert same(found, stored)
    if isinstance(found, dict):
        assert {type(key) for key in found} == {str}


def test_a_datetime_before_the_epoch_is_truncated_downwards() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert plain(moment, "job", "repo") == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "data",
    [
        ...,
        {1, 2},
        1j,
        date(2024, 1, 1),
        timedelta(1),
        Path("path"),
        {None: 1},
        {b"key": 1},
        {"a": {7: 1}},
        2**63,
        -(2**63) - 1,
        "\udc80",
        {"\udc80": 1},
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: {"a": [data]}], ids=["alone", "inside"])
def test_what_not_every_backend_can_store_is_refused_by_name(data: object, wrap: Any) -> None:
    with pytest.raises(MalformedValueError, match=r"^Cannot store job 'job' in 'repo': "):
        plain(wrap(data), "job", "repo")


def test_the_refusal_does_not_show_the_data() -> None:
    class Secret:
        @override
        def __repr__(self) -> str:
            return "hunter2"

    for data in (Secret(), [Secret()], {Secret(): 1}):
        with pytest.raises(MalformedValueError) as caught:
            plain(data, "job", "repo")
        assert "hunter2" not in str(caught.value)
        assert "Secret" in str(caught.value)


@BRIEFLY
@given(st.recursive(st.just(object()), lambda inner: st.lists(inner, min_size=1, max_size=2)))
def test_what_is_refused_anywhere_is_refused(data: Any) -> None:
    with pytest.raises(MalformedValueError):
        plain(data, "job", "repo")


def test_a_structure_that_contains_itself_is_refused() -> None:
    data: dict[str, Any] = {}
    data["self"] = [data]
    with pytest.raises(MalformedValueError, match="contains itself"):
        plain(data, "job", "repo")
