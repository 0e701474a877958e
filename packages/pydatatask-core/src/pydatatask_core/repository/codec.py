"""Structured data as bytes: one codec per format, shared by every repository that stores that format.

A codec takes what :func:`~.value.plain` gives and gives equal data back. It does no I/O and may be used from any
thread, so that a backend can encode and write in one trip to a worker thread.
"""

from __future__ import annotations

import base64
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any

from typing_extensions import override

from ..errors import MalformedValueError
from .value import utc

__all__ = ["JSON", "Codec"]


class Codec(ABC):
    """Turns structured data into bytes and back."""

    name: str
    """What the bytes are called in errors."""

    @abstractmethod
    def encode(self, data: Any) -> bytes:
        """Give ``data``, which must be as :func:`~.value.plain` makes it, as bytes.

        :raises MalformedValueError: if it is nested too deeply.
        """

    @abstractmethod
    def decode(self, raw: bytes) -> Any:
        """Give the data that the bytes say.

        :raises MalformedValueError: if they cannot be read. Says what is wrong, and where.
        """

    def write(self, data: Any, job: str, repo: object) -> bytes:
        """Do :meth:`encode`; ``job`` and ``repo`` name the data in errors."""
        try:
            return self.encode(data)
        except MalformedValueError as error:
            raise MalformedValueError(f"Cannot store job {job!r} in {repo!r}: the data is {error}.") from error

    def read(self, raw: bytes, job: str, repo: object) -> Any:
        """Do :meth:`decode`; ``job`` and ``repo`` name the bytes in errors. The cause is the parser's own error."""
        try:
            return self.decode(raw)
        except MalformedValueError as error:
            raise MalformedValueError(
                f"Cannot read job {job!r} in {repo!r}: the stored value is {error}. "
                "Correct it in the store, or delete the job."
            ) from (error.__cause__ or error)

    @override
    def __repr__(self) -> str:
        return self.name


class _Json(Codec):
    """JSON on one line. What JSON has no word for is an object of one key, a tag.

    ``{"$date": "2024-05-01T10:00:00.000+00:00"}`` is a moment, ``{"$bytes": "aGk="}`` bytes in base64, and
    ``{"$float": "nan"}`` a number that JSON lacks. An object that would read as one of these, or as an escaped one,
    is escaped by one more ``$`` before its key.
    """

    name = "JSON"

    @override
    def encode(self, data: Any) -> bytes:
        try:
            try:
                text = _ENCODER.encode(data)
                if '"$' in text:
                    text = _ENCODER.encode(_tagged(data))
            except (TypeError, ValueError):
                # A moment, bytes or a number that needs its tag.
                text = _ENCODER.encode(_tagged(data))
        except RecursionError as error:
            raise MalformedValueError("nested too deeply for JSON") from error
        return text.encode() + b"\n"

    @override
    def decode(self, raw: bytes) -> Any:
        try:
            return json.loads(raw.decode("utf-8-sig"), object_hook=_untagged)
        except json.JSONDecodeError as error:
            raise MalformedValueError(
                f"no valid JSON ({error.msg} in line {error.lineno}, column {error.colno})"
            ) from error
        except UnicodeDecodeError as error:
            raise MalformedValueError(f"no valid JSON (no UTF-8: {error.reason} at byte {error.start})") from error
        except ValueError as error:
            raise MalformedValueError(f"no valid JSON ({error})") from error
        except RecursionError as error:
            raise MalformedValueError("JSON that is nested too deeply") from error


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def _tagged(data: Any) -> Any:
    kind = type(data)
    if kind is dict:
        tagged = {key: _tagged(value) for key, value in data.items()}
        if len(tagged) == 1:
            ((key, value),) = tagged.items()
            if key in _TAGS or key.startswith("$$"):
                return {f"${key}": value}
        return tagged
    if kind is list:
        return [_tagged(item) for item in data]
    if kind is datetime:
        return {"$date": data.isoformat(timespec="milliseconds")}
    if kind is bytes:
        return {"$bytes": base64.b64encode(data).decode("ascii")}
    if kind is float and not math.isfinite(data):
        return {"$float": repr(data)}
    return data


def _untagged(found: dict[str, Any]) -> Any:
    if len(found) != 1:
        return found
    ((key, value),) = found.items()
    if key.startswith("$$"):
        return {key[1:]: value}
    untag = _TAGS.get(key)
    if untag is None:
        return found
    try:
        return untag(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the value of {key!r} cannot be read: {error}") from error


def _moment(text: str) -> datetime:
    return utc(datetime.fromisoformat(text))


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _float(text: str) -> float:
    if text not in _FLOATS:
        raise ValueError(f"it is none of {', '.join(_FLOATS)}")
    return float(text)


_FLOATS = ("nan", "inf", "-inf")
_TAGS: dict[str, Callable[[str], Any]] = {"$bytes": _bytes, "$date": _moment, "$float": _float}

JSON: Codec = _Json()
"""The JSON codec."""
