"""Data for metadata repositories: a Hypothesis strategy, and what must come back, worked out independently."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

__all__ = ["as_stored", "json_like", "same"]

_LIMITS = datetime(1, 1, 3), datetime(9999, 12, 29)
_offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def json_like() -> st.SearchStrategy[Any]:
    """Generate everything a metadata repository must hold: JSON, datetimes of any timezone or none, and bytes."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.sampled_from(
            ["", "null", "~", "yes", "on", "1e3", "0x1f", "1_000", "2001-01-01", "<<", "=", "- a", "a: b"]
        )
        | st.datetimes(*_LIMITS)
        | st.datetimes(*_LIMITS, timezones=_offsets)
        | st.binary()
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    )


def as_stored(data: Any) -> Any:
    """Give what a metadata repository must give back for ``data``."""
    if isinstance(data, dict):
        return {key: as_stored(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [as_stored(item) for item in data]
    if isinstance(data, datetime):
        aware = data.replace(tzinfo=UTC) if data.tzinfo is None else data
        whole_milliseconds = (aware - _EPOCH) // timedelta(milliseconds=1)
        return _EPOCH + timedelta(milliseconds=whole_milliseconds)
    return data


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal down to their types: ``1``, ``1.0`` and ``True`` are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, datetime):
        return bool(one == other and one.utcoffset() == other.utcoffset())
    return bool(one == other)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
