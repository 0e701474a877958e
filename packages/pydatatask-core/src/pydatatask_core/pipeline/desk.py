"""Where a running controller answers questions about its jobs: a socket of this machine, beside the lock file.

Retries and quotas that are waited for are known to the controller alone. One connection carries one question and one
answer, each a line of JSON. Nothing that is asked is evaluated, and nothing can be changed by asking. Only the user
who runs the controller can connect. A desk that cannot be opened is a warning: the run goes on without.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from ..task.base import Task
from .controller import Controller
from .lock import Holder
from .standing import Crowd, Standing, crowds_of, standing_of

__all__ = ["Told", "answer", "ask", "desk_beside", "open_desk"]

_log = logging.getLogger("pydatatask.pipeline")

SCHEMA_VERSION = 1
LONGEST_QUESTION = 4096
"""Bytes."""
LONGEST_ANSWER = 1 << 20
"""Bytes."""
PATIENCE = 5.0
"""Seconds that one side waits for the other."""
MOST = 8
"""Questions at a time."""
SHORT = 100
"""Bytes of a path that every system takes for a socket's address."""


@frozen
class Told:
    """What a controller answered."""

    holder: Holder
    """The controller, and since when it runs."""
    stopping: bool
    unreachable: tuple[str, ...]
    """What is wrong with the stores that it cannot ask."""
    standings: Mapping[str, Standing | None]
    """How the job in question stands with each task; None where its stores alone decide."""
    crowds: Mapping[str, tuple[Crowd, ...]]
    """How jobs stand with each task, where no job was in question."""

    @classmethod
    def read(cls, data: Any) -> Told:
        """Make one of what a controller answered.

        :raises ValueError: if that is not what it is, or the controller could not answer.
        """
        try:
            if "error" in data:
                raise ValueError(str(data["error"]))
            holder = Holder.read(data)
            if holder is None or data["schema_version"] != SCHEMA_VERSION:
                raise ValueError("it is of another release")
            standings = {name: one and Standing.read(one) for name, one in data["standings"].items()}
            crowds = {name: tuple(map(Crowd.read, many)) for name, many in data["crowds"].items()}
            return cls(holder, bool(data["stopping"]), tuple(data["unreachable"]), standings, crowds)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("it is of another release") from error


def desk_beside(lock: Path) -> Path:
    """Give the place of the socket that belongs to a lock file. Its name is short, for there is little room."""
    return lock.with_name(f"{lock.stem.rpartition('-')[2]}.sock")


async def ask(desk: Path, task: str | None = None, job: str | None = None) -> Told | None:
    """Ask the controller whose desk this is about a task, or all of them, and about one job or the jobs as a whole.

    :returns: None if no controller is there.
    :raises ValueError: if it could not answer, or is of another release.
    :raises TimeoutError: if it did not answer in time: it may be busy with a function that blocks.
    """
    try:
        connected = await asyncio.to_thread(_connect, desk)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise ValueError(f"{desk} cannot be asked: {error.strerror or error}") from error
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=LONGEST_ANSWER)
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(_line({"task": task, "job": job}))
            line = await reader.readline()
        return Told.read(json.loads(line)) if line else None
    except ConnectionError:
        return None
    except TimeoutError as error:
        raise TimeoutError(f"the controller has not answered for {PATIENCE:g} s") from error
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def answer(controller: Controller, tasks: Mapping[str, Task], holder: Holder, question: Any) -> dict[str, Any]:
    """Answer a question, as plain data."""
    named, job = (question.get("task"), question.get("job")) if isinstance(question, dict) else (0, 0)
    if not isinstance(named, str | None) or not isinstance(job, str | None):
        return {"error": "the question is none"}
    if named is not None and named not in tasks:
        return {"error": f"it knows no task {named!r}"}
    chosen = tasks.values() if named is None else [tasks[named]]
    standings = {} if job is None else {task.name: standing_of(controller, task, job) for task in chosen}
    crowds = {task.name: crowds_of(controller, task) for task in chosen} if job is None else {}
    return {
        "schema_version": SCHEMA_VERSION,
        **holder.data(),
        "stopping": controller.stopping,
        "unreachable": [str(error) for error in controller.unreachable()],
        "standings": {name: one and one.data() for name, one in standings.items()},
        "crowds": {name: [crowd.data() for crowd in many] for name, many in crowds.items()},
    }


@asynccontextmanager
async def open_desk(desk: Path, answered: Callable[[Any], dict[str, Any]]) -> AsyncIterator[None]:
    """Answer questions at a desk while the block goes on. The caller holds the lock that the desk is beside."""
    try:
        listening, own = await asyncio.to_thread(_listen, desk)
    except OSError as error:
        _log.warning("This run cannot be asked about by other commands (%s): %s", desk, error.strerror or error)
        yield
        return
    clerk = _Clerk(answered)
    server = await asyncio.start_unix_server(clerk.serve, sock=listening, limit=LONGEST_QUESTION)
    try:
        yield
    finally:
        server.close()
        await clerk.close()
        await asyncio.to_thread(_remove, desk, own)


class _Clerk:
    """Serves those who come, a few at a time."""

    def __init__(self, answered: Callable[[Any], dict[str, Any]]) -> None:
        self._answered = answered
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one question."""
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._serving) < MOST:
                self._serving.add(task)
                async with asyncio.timeout(PATIENCE):
                    writer.write(self._reply(await reader.readline()))
                    await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            _log.debug("A question was not answered: %s", error)
        finally:
            self._serving.discard(task)
            writer.close()

    def _reply(self, line: bytes) -> bytes:
        try:
            question = json.loads(line)
        except ValueError:
            return _line({"error": "the question is none"})
        try:
            reply = _line(self._answered(question))
        except Exception as error:  # noqa: BLE001  # the asker is told, and the run goes on
            _log.exception("A question could not be answered.")
            return _line({"error": f"it could not tell: {type(error).__name__}"})
        return reply if len(reply) <= LONGEST_ANSWER else _line({"error": "the answer is too long; ask for one task"})

    async def close(self) -> None:
        """Leave those unanswered that still wait."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def _connect(desk: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(PATIENCE)
        with _address(desk) as address:
            connected.connect(address)
        connected.setblocking(False)
    except BaseException:
        connected.close()
        raise
    return connected


def _listen(desk: Path) -> tuple[socket.socket, int]:
    """Make the socket, in the place of one whose controller is dead, and give its inode's number, too.

    :raises OSError: if it cannot be made, the folder is open to others, or another controller uses the place.
    """
    desk.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = desk.parent.stat()
    if folder.st_uid != os.getuid() or stat.S_IMODE(folder.st_mode) & 0o077:
        raise PermissionError(f"{desk.parent} is open to others; make it yours alone (chmod 700)")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(desk) as address:
            _remove_dead(desk, address)
            listening.bind(address)
        desk.chmod(0o600)
        listening.listen(MOST)
    except BaseException:
        listening.close()
        raise
    return listening, desk.stat().st_ino


def _remove_dead(desk: Path, address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(address)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not stat.S_ISSOCK(desk.lstat().st_mode):
                raise FileExistsError("something that is no socket is in the way") from None
            desk.unlink()
        else:
            # Two controllers with leases in different places, say.
            raise FileExistsError("another controller of this script answers there")


def _remove(desk: Path, own: int) -> None:
    try:
        if desk.lstat().st_ino == own:
            desk.unlink()
    except OSError as error:
        _log.debug("%s was not removed: %s", desk, error)


@contextmanager
def _address(desk: Path) -> Iterator[str]:
    """Give a path's address for a socket, short enough whatever the folder is called."""
    if len(os.fsencode(desk)) <= SHORT or not Path("/proc/self/fd").is_dir():
        yield str(desk)
        return
    folder = os.open(desk.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{desk.name}"
    finally:
        os.close(folder)


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"
