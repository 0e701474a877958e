"""How a value is kept as a document, so that queries of others see plain fields, and every value comes back equal.

A mapping is the document itself: its keys are the fields, moments are dates, bytes are binary. Three things do not
fit, and are marked with ``\uff04``, the full-width dollar sign that MongoDB's manual suggests for keys:

* A key that begins with ``$`` gets the mark before it. Servers refuse such keys in places, and drivers take
  ``{"$ref": ..., "$id": ...}`` for something else. So does ``_id`` in the value's own top level.
* A key with a NUL, which no document can hold, becomes the mark, ``%``, and the key with ``%00`` for NUL and ``%25``
  for ``%``.
* A value that is no mapping is the only field of its document, under the mark followed by ``value``.

A key that looks marked already gets one mark more. Dots in keys are kept as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydatatask_core.repository.value import utc

__all__ = ["from_document", "to_document"]

MARK = "\uff04"
_VALUE = f"{MARK}value"

_LIKE_MARKED = re.compile(f"{MARK}*\\$|{MARK}+%")
_MARKED = re.compile(f"{MARK}+\\$|{MARK}{{2,}}%")
_LIKE_MARKED_FIELD = re.compile(f"{MARK}*_id|{MARK}+value")
_MARKED_FIELD = re.compile(f"{MARK}+_id|{MARK}{{2,}}value")


def to_document(job: str, data: Any) -> dict[str, Any]:
    """Give the document that keeps ``data``, which must be plain, under a job's key. Nothing of it is changed."""
    document: dict[str, Any] = {"_id": job}
    if type(data) is not dict:
        document[_VALUE] = _stored(data)
        return document
    for key, value in data.items():
        field = f"{MARK}{key}" if _LIKE_MARKED_FIELD.fullmatch(key) else _marked(key)
        kind = type(value)
        document[field] = _stored(value) if kind is dict or kind is list else value
    return document


def _stored(data: Any) -> Any:
    kind = type(data)
    if kind is dict:
        return {_marked(key): _stored(value) for key, value in data.items()}
    if kind is list:
        return [_stored(item) for item in data]
    return data


def _marked(key: str) -> str:
    if "\0" in key:
        return f"{MARK}%" + key.replace("%", "%25").replace("\0", "%00")
    if key[:1] in _FIRST and _LIKE_MARKED.match(key):
        return MARK + key
    return key


def from_document(document: Mapping[str, Any]) -> Any:
    """Give what a document keeps. Documents that other programs made are read as they are.

    :raises TypeError: if it holds what is no plain data: an ObjectId, a regular expression.
    :raises RecursionError: if it is nested too deeply.
    """
    fields = {key: value for key, value in document.items() if key != "_id"}
    if fields.keys() == {_VALUE}:
        return _restored(fields[_VALUE])
    return {
        key[1:] if key[:1] in _FIRST and _MARKED_FIELD.fullmatch(key) else _unmarked(key): _restored(value)
        for key, value in fields.items()
    }


def _restored(data: Any) -> Any:
    kind = type(data)
    if kind in _AS_IT_IS:
        return data
    if kind is datetime:
        return utc(data)
    if kind is dict:
        return {_unmarked(key): _restored(value) for key, value in data.items()}
    if kind is list:
        return [_restored(item) for item in data]
    # A driver gives integers of 64 bits, and bytes of a kind of their own, as subclasses.
    if isinstance(data, int):
        return int(data)
    if isinstance(data, bytes):
        return bytes(data)
    raise TypeError(f"it holds a value of type {kind.__name__}, which is neither JSON-like data, a datetime nor bytes")


def _unmarked(key: str) -> str:
    if key[:1] != MARK:
        return key
    if key.startswith(f"{MARK}%"):
        return key[2:].replace("%00", "\0").replace("%25", "%")
    return key[1:] if _MARKED.match(key) else key


_FIRST = ("$", MARK)
_AS_IT_IS = frozenset({str, float, bool, type(None), bytes, int})
