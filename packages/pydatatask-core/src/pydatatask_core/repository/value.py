"""What structured data may hold, the same on every backend.

Every metadata repository passes what it is given through :func:`plain` before storing it, so that a value stored in
memory comes back as it would from a file or a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import MalformedValueError

__all__ = ["plain"]

_INT64 = range(-(2**63), 2**63)


def plain(data: Any, job: str, repo: object, verb: str = "store") -> Any:
    """Copy data into plain dicts, lists and scalars; ``verb``, ``job`` and ``repo`` say in errors what was done.

    Tuples become lists, subclasses their base. A datetime becomes UTC, truncated to milliseconds; one without a
    timezone is taken for UTC.

    :raises MalformedValueError: if something in it cannot be stored on every backend.
    """
    try:
        return _plain(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise MalformedValueError(f"Cannot {verb} job {job!r} in {repo!r}: {error}") from None
    except RecursionError:
        raise MalformedValueError(
            f"Cannot {verb} job {job!r} in {repo!r}: it contains itself or is nested too deeply."
        ) from None


def utc(moment: datetime) -> datetime:
    """Give a moment as it is stored: aware, UTC, truncated to milliseconds."""
    if moment.tzinfo is UTC and moment.microsecond % 1000 == 0 and type(moment) is datetime:
        # As our own records have it; to make it anew would take as long as all the rest of storing one in memory.
        return moment
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _plain(data: Any) -> Any:
    kind = type(data)
    if kind in _AS_IT_IS:
        return data
    copy = _COPIES.get(kind)
    return _converted(data) if copy is None else copy(data)


def _mapping(data: Mapping[Any, Any]) -> dict[str, Any]:
    # This runs for every record of every run, so the usual values are told apart without a call.
    copied: dict[str, Any] = {}
    for key, value in data.items():
        if type(key) is not str or not key.isascii():
            key = _key(key)
        kind = type(value)
        if kind is str:
            if not value.isascii():
                _text(value)
        elif kind is datetime:
            if value.tzinfo is not UTC or value.microsecond % 1000:
                value = utc(value)
        elif kind not in _AS_IT_IS:
            value = _plain(value)
        copied[key] = value
    return copied


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"mapping keys must be strings, and one is of type {type(key).__name__}.")
    return _text(str.__str__(key))  # str() of an enum's member is its name


def _sequence(data: Iterable[Any]) -> list[Any]:
    return [_plain(item) for item in data]


def _text(data: str) -> str:
    data.encode("utf-8")
    return data


def _integer(data: int) -> int:
    if data not in _INT64:
        raise ValueError(f"the integer {data} does not fit into 64 bits.")
    return data


def _converted(data: Any) -> Any:
    """Convert subclasses and relatives of the plain kinds."""
    for base, convert in _BASES:
        if isinstance(data, base):
            return _plain(convert(data))
    # The value itself may be a secret.
    raise TypeError(f"a value of type {type(data).__name__} is neither JSON-like data, a datetime nor bytes.")


_AS_IT_IS = frozenset({float, bool, type(None), bytes})
_COPIES: dict[type, Callable[[Any], Any]] = {
    str: _text,
    int: _integer,
    datetime: utc,
    dict: _mapping,
    list: _sequence,
    tuple: _sequence,
}
_BASES: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (Mapping, dict),
    ((list, tuple), list),
    # Methods of a subclass of datetime give that subclass again.
    (datetime, lambda moment: datetime.combine(moment.date(), moment.timetz())),
    (str, str.__str__),
    (int, int),
    (float, float),
    ((bytes, bytearray, memoryview), bytes),
)
