"""One controller per pipeline: the lock, and the file that is the lock where nobody says otherwise.

What is guarded is the launching of jobs. A lock frees itself when its holder dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import platform
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import asdict, frozen
from typing_extensions import override

from ..clock import now
from ..errors import LockHeldError, StoreUnavailableError

__all__ = ["FileLock", "Holder", "PipelineLock", "state_folder"]


@frozen
class Holder:
    """Who holds a lock."""

    host: str
    pid: int
    since: str
    """When it was taken: ISO 8601, UTC."""

    @classmethod
    def this_process(cls) -> Holder:
        """Describe this process, as of now."""
        return cls(platform.node(), os.getpid(), now().isoformat(timespec="seconds"))

    @classmethod
    def read(cls, data: Any) -> Holder | None:
        """Make one of what was stored, if that is what it is."""
        try:
            datetime.fromisoformat(data["since"])
            return cls(str(data["host"]), int(data["pid"]), str(data["since"]))
        except (TypeError, KeyError, ValueError):
            return None

    def data(self) -> dict[str, Any]:
        """Give it as it is stored."""
        return asdict(self)


class PipelineLock(ABC):
    """Lets one controller drive a pipeline at a time."""

    @abstractmethod
    async def acquire(self, lost: Callable[[], None]) -> None:
        """Take the lock, and keep it until :meth:`release`.

        After a failure or a cancellation it is not held.

        :param lost: called if the lock can be kept no longer, while nobody else has it yet: launch nothing more.
        :raises LockHeldError: if another controller holds it. Names its host, process, and since when.
        :raises StoreUnavailableError: if where the lock lives cannot be reached.
        """

    def is_held(self) -> bool:
        """Tell whether the lock is surely still held, asked before each launch, from any thread."""
        return True

    @abstractmethod
    async def release(self) -> None:
        """Give the lock back. Does nothing if it is not held."""

    @abstractmethod
    async def holder(self) -> Holder | None:
        """Tell who holds the lock now, if anybody does."""

    @property
    @abstractmethod
    def guards(self) -> str:
        """What the lock is and what it guards, for people to read."""


def refusal(holder: Holder | None, where: str) -> LockHeldError:
    """Make the error for a lock that somebody holds."""
    who = (
        f"process {holder.pid} on {holder.host}, since {holder.since}"
        if holder
        else "another process, which has not said who it is"
    )
    return LockHeldError(
        f"Another controller drives this pipeline: {who} ({where}). Wait for it to end, or end it, and try again."
    )


def state_folder() -> Path:
    """Give the folder for what this user's pipelines remember on this machine."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "pydatatask"


_held: dict[Path, Holder] = {}
"""The locks of this process. To open and close such a file once more would free it."""


class FileLock(PipelineLock):
    """A lock file in the user's state folder, for the pipelines of one script on one machine.

    The kernel keeps the lock and frees it at once when its holder dies. It belongs to the process alone: worker
    processes that outlive it for a moment do not keep it.
    """

    def __init__(self, script: str | os.PathLike[str]) -> None:
        """:param script: the lock is named after its path as it is given, symbolic links in it and all."""
        self.script = Path(script).absolute()
        digest = hashlib.sha256(os.fsencode(self.script)).hexdigest()[:16]
        self.path = state_folder() / f"{self.script.stem[:40]}-{digest}.lock"
        self._descriptor: int | None = None

    @property
    @override
    def guards(self) -> str:
        return f"the lock file {self.path} guards this user's runs of {self.script} on this machine"

    @override
    async def acquire(self, lost: Callable[[], None]) -> None:
        acquiring = asyncio.ensure_future(asyncio.to_thread(self._acquire))
        try:
            await asyncio.shield(acquiring)
        except asyncio.CancelledError:
            # The thread goes on, and what it takes must be given back.
            await asyncio.wait([acquiring])
            if acquiring.exception() is None:
                await self.release()
            raise

    @override
    async def release(self) -> None:
        await asyncio.to_thread(self._release)

    @override
    async def holder(self) -> Holder | None:
        return await asyncio.to_thread(self._holder)

    def _acquire(self) -> None:
        with _acquiring:
            self._acquire_alone()

    def _acquire_alone(self) -> None:
        if self.path in _held:
            raise refusal(_held[self.path], str(self.path))
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailableError(
                f"Cannot make the lock file {self.path}: {error.strerror}. Set XDG_STATE_HOME to a folder of yours."
            ) from error
        if not _try_to_lock(descriptor):
            holder = _stored(descriptor)
            os.close(descriptor)
            raise refusal(holder, str(self.path))
        self._descriptor = descriptor
        _held[self.path] = holder = Holder.this_process()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder.data()).encode(), 0)

    def _release(self) -> None:
        with _acquiring:
            if self._descriptor is not None:
                os.ftruncate(self._descriptor, 0)
                os.close(self._descriptor)
                self._descriptor = None
                del _held[self.path]

    def _holder(self) -> Holder | None:
        # To close the file frees what another thread has taken meanwhile.
        with _acquiring:
            return self._holder_alone()

    def _holder_alone(self) -> Holder | None:
        if self.path in _held:
            return _held[self.path]
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return None if _try_to_lock(descriptor) else _stored(descriptor)
        finally:
            os.close(descriptor)


_acquiring = threading.Lock()
"""The kernel does not tell the threads of one process apart."""


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _stored(descriptor: int) -> Holder | None:
    try:
        return Holder.read(json.loads(os.pread(descriptor, 4096, 0)))
    except ValueError:
        return None
