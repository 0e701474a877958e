"""How large the parts of an upload are, and by that, how our own forgotten uploads are told from others'.

S3 takes 10,000 parts, so parts grow with the object. The store lists unfinished uploads with nothing but their key,
owner and parts. Other programs cut round numbers of mebibytes, so parts of an odd size, known by their number, are
the mark by which ``validate`` knows an upload as ours.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["MAX_PARTS", "is_ours", "part_size"]

MAX_PARTS = 10_000

_FIRST = 8 * 1024 * 1024 + 4721
"""Bytes in each of the first thousand parts."""

_GROWTH = 136 * 1024 + 17
"""Bytes by which each later part is larger than the one before it, so that all of them hold more than 5 TiB."""

_EQUAL = 1000


def part_size(number: int) -> int:
    """Give the bytes of a full part; the first part has the number 1."""
    return _FIRST + max(0, number - _EQUAL) * _GROWTH


def is_ours(parts: Sequence[tuple[int, int]]) -> bool:
    """Tell whether the parts of an upload, as pairs of number and size in order, were cut by us.

    Without a full part there is no telling, and the answer is no.
    """
    if not parts or parts[0] != (1, part_size(1)):
        return False
    *full, (last, rest) = parts
    return last == len(parts) and rest <= part_size(last) and all(size == part_size(number) for number, size in full)
