"""The hidden names under which values are made and unmade, beside the names they are known by.

``.pdt-KIND-OWNER.COUNT~NAME``: no such name is ever a job id, all are recognised as ours, and each tells which
process made it for which repository, so that a watch knows its own side's renames from those of others.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
from typing import Literal

from attrs import frozen

__all__ = ["MARK", "HiddenName", "Kind", "Names", "parsed"]

MARK = ".pdt-"
"""What every hidden name of ours begins with."""

Kind = Literal["new", "old", "gone"]
"""``new``: in the making. ``old``: a directory on its way out while its successor comes in. ``gone``: deleted."""

_HIDDEN = re.compile(r"\.pdt-(new|old|gone)-([0-9a-f]{24})\.[0-9a-f]+~(.+)", re.DOTALL)
_counter = itertools.count()


class _Process:
    """What tells this process from any other, forked ones included."""

    token = secrets.token_hex(8)

    @classmethod
    def renew(cls) -> None:
        cls.token = secrets.token_hex(8)


os.register_at_fork(after_in_child=_Process.renew)


@frozen
class HiddenName:
    """A hidden name of ours, taken apart."""

    kind: str
    owner: str
    name: str


def parsed(name: str) -> HiddenName | None:
    """Take a hidden name apart; None if it is not ours."""
    match = _HIDDEN.fullmatch(name)
    return HiddenName(*match.groups()) if match else None


class Names:
    """Gives hidden names for one location."""

    def __init__(self, location: str) -> None:
        self._location = hashlib.blake2b(location.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()

    @property
    def owner(self) -> str:
        """What the names of this process for this location have in common."""
        return _Process.token + self._location

    def fresh(self, kind: Kind, name: str) -> str:
        """Give a hidden name that was never given before, for what is or will be known as ``name``."""
        return f"{MARK}{kind}-{self.owner}.{next(_counter):x}~{name}"
