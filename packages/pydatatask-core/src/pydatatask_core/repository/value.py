"""What structured data may hold, the same on every backend.

Every metadata repository passes what it is given through :func:`plain` before storing it, so that a value stored in
memory comes back as it would from a file or a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import MalformedValueError

__all__ = ["plain"]

_INT64 = range(-(2**63), 2**63)


def plain(data: Any, job: str, repo: object) -> Any:
    """Copy data into plain dicts, lists and scalars; ``job`` and ``repo`` name it in errors.

    Tuples become lists, subclasses their base. A datetime becomes UTC, truncated to milliseconds; one without a
    timezone is taken for UTC.

    :raises MalformedValueError: if something in it cannot be stored on every backend.
    """
    try:
        return _plain(data)
    except (TypeError, ValueError) as error:
        raise MalformedValueError(f"Cannot store job {job!r} in {repo!r}: {error}") from None
    except RecursionError:
        raise MalformedValueError(
            f"Cannot store job {job!r} in {repo!r}: it contains itself or is nested too deeply."
        ) from None


def utc(moment: datetime) -> datetime:
    """Give a moment as it is stored: aware, UTC, truncated to milliseconds."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _plain(data: Any) -> Any:  # noqa: C901  # one flat dispatch over the kinds of data
    kind = type(data)
    if kind is str or kind is bool or data is None or kind is float or kind is bytes:
        if kind is str and not data.isascii():
            data.encode("utf-8")
        return data
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                raise TypeError(f"mapping keys must be strings, and {key!r} is not.")
        return {_plain(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    if isinstance(data, datetime):
        return utc(data)
    if isinstance(data, bool):
        return data
    if isinstance(data, int):
        if data not in _INT64:
            raise ValueError(f"the integer {data} does not fit into 64 bits.")
        return int(data)
    if isinstance(data, str):
        return _plain(str(data))
    if isinstance(data, float):
        return float(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"{data!r} of type {kind.__name__} is neither JSON-like data, a datetime nor bytes.")
