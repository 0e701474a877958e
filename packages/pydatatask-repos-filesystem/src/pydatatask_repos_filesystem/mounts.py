"""On what a folder stands: only file systems of this machine alone tell all that happens to them through inotify."""

from __future__ import annotations

import os
import re
import sys

__all__ = ["is_local", "kind_of_mount"]

_LOCAL = frozenset(
    (
        *("bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "msdos", "nilfs2", "ntfs3", "overlay"),
        *("ramfs", "reiserfs", "tmpfs", "udf", "vfat", "xfs", "zfs"),
    )
)
"""Kinds whose every change goes through this kernel. What is not named here is polled, which is slower, not wrong."""


def is_local(path: str) -> bool:
    """Tell whether inotify sees every change to a folder, given by its absolute path without symbolic links.

    False where that is not known: elsewhere than on Linux, and for network, FUSE and unknown file systems.
    """
    return sys.platform == "linux" and kind_of_mount(path, _mountinfo()) in _LOCAL


def kind_of_mount(path: str, mountinfo: str) -> str:
    """Give the kind of file system that ``path`` is on, as ``/proc/self/mountinfo`` names it; ``""`` if unknown."""
    longest, kind = "", ""
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4]).rstrip("/")
        # A later mount covers an earlier one on the same point.
        if len(point) >= len(longest) and (path + "/").startswith(point + "/"):
            longest, kind = point, source.split(" ")[0]
    return kind


def _mountinfo() -> str:
    """Read the kernel's list of mounts, which never waits for a disk."""
    try:
        fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""  # no /proc in here, so nothing is known
    try:
        parts: list[bytes] = []
        while part := os.read(fd, 65536):
            parts.append(part)
    finally:
        os.close(fd)
    return os.fsdecode(b"".join(parts))
