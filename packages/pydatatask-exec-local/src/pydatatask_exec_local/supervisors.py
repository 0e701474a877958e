"""The supervisors on this machine: starting them, and hearing from them.

Each supervisor that this process starts has one shared pipe as its standard output, on which it tells of its run's
beginning and end. That any supervisor has gone, ours or one that an earlier controller started, is told by a pidfd. So
nothing is polled, and a run costs one file descriptor.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydatatask_core.errors import SiteFullError, SiteUnavailableError
from pydatatask_core.runs.host import Supervisor
from pydatatask_core.runs.shell import SUPERVISE

__all__ = ["Supervisors", "clock_offset", "pid_namespace"]

_SHELL: Final = "/bin/sh"


def pid_namespace() -> str:
    """Give the name of this process's pid namespace."""
    return str(Path("/proc/self/ns/pid").readlink())


def clock_offset() -> int:
    """Give what makes an uptime a time since 1970, both in hundredths of a second."""
    uptime = Path("/proc/uptime").read_text(encoding="ascii").split()[0]
    return round(time.time() * 100) - int(uptime.replace(".", ""))


class Supervisors:
    """Follows supervisors on the running event loop, from opening to closing."""

    def __init__(self, tell: Callable[[str], None], gone: Callable[[str], None]) -> None:
        """:param tell: takes each line that a supervisor of ours prints.
        :param gone: takes the path of each run whose supervisor has gone without telling of an end.
        """
        self._tell = tell
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        # Room for some thousand lines, so that no supervisor waits for a busy controller.
        fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, 1 << 20)
        self._rest = b""
        self._followed: dict[int, tuple[int, str]] = {}
        """Pid and path of the run, by pidfd."""
        self._ended: set[str] = set()
        """Runs whose end was told, and whose supervisor has not gone yet."""
        self._loop.add_reader(self._read, self._hear)

    def close(self) -> None:
        """Follow nobody any more. The supervisors go on."""
        self._loop.remove_reader(self._read)
        for pidfd in self._followed:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._followed.clear()
        os.close(self._read)
        os.close(self._write)

    async def spawn(self, folder: Path, path: str) -> None:
        """Start a supervisor for a run's folder and follow it."""
        try:
            pid = await asyncio.to_thread(self._start, folder, path)
        except OSError as error:
            raise SiteFullError(f"Cannot start a process for {path}: {error.strerror}.") from error
        self._follow(pid, path)

    def _start(self, folder: Path, path: str) -> int:
        return os.posix_spawn(
            _SHELL,
            ["sh", "-c", SUPERVISE, "pydatatask", str(folder), path, pid_namespace(), str(clock_offset())],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, self._write, 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )

    def adopt(self, supervisor: Supervisor) -> None:
        """Follow the supervisor of a run, whoever started it."""
        if any(pid == supervisor.pid and path == supervisor.path for pid, path in self._followed.values()):
            return
        self._follow(supervisor.pid, supervisor.path)

    def _follow(self, pid: int, path: str) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._gone(path)
            return
        except OSError as error:
            raise SiteUnavailableError(f"Cannot follow process {pid} of {path}: {error.strerror}.") from error
        self._followed[pidfd] = (pid, path)
        self._loop.add_reader(pidfd, self._over, pidfd)

    def _over(self, pidfd: int) -> None:
        pid, path = self._followed.pop(pidfd)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            # Somebody else's child: an earlier controller's.
            pass
        self._hear()
        if path in self._ended:
            self._ended.discard(path)
        else:
            self._gone(path)

    def _hear(self) -> None:
        while True:
            try:
                data = os.read(self._read, 1 << 16)
            except BlockingIOError:
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                text = line.decode()
                if text.split()[-1] != "-":
                    self._ended.add(text.split()[0])
                self._tell(text)
