"""This machine as a place for scripts to run."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pydatatask_core.errors import ConfigurationError, SiteUnavailableError
from pydatatask_core.job import is_valid_name
from pydatatask_core.runs.host import HostFiles, ProcessManager, supervisor_in
from pydatatask_core.runs.shell import SCAN
from pydatatask_core.streams import CHUNK, BlobReader
from typing_extensions import override

from .folder import Folder
from .reading import FileReader
from .supervisors import Supervisors, clock_offset, pid_namespace

__all__ = ["LocalLinuxManager"]


class LocalLinuxManager(ProcessManager):
    """Runs scripts as processes of this machine.

    Runs live in folders under ``local_path``, which is made with mode 0700 and must be ours. They go on when the
    controller ends; the next one finds them there. The folder must not be on a file system that forbids execution.
    """

    def __init__(self, app: str, local_path: str | os.PathLike[str] = "/tmp/pydatatask") -> None:  # noqa: S108  # 0700
        """:param app: part of the name of every run. Two pipelines that share it must not share task names.
        :param local_path: the folder that holds the folders of runs.
        :raises ConfigurationError: if the app's name is none.
        """
        if not is_valid_name(app):
            raise ConfigurationError(f"{app!r} is no valid app name. Use 1 to 63 letters, digits, '_' and '-'.")
        self.app = app
        self._folder = Folder(os.fspath(local_path), app)
        self._supervisors: Supervisors | None = None

    @override
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app} in {self._folder.base}>"

    @property
    @override
    def host(self) -> str:
        return platform.node()

    @property
    @override
    def basedir(self) -> str:
        return str(self._folder.path)

    @property
    @override
    def is_here(self) -> bool:
        return True

    @override
    async def claim(self, path: str, files: HostFiles) -> bool:
        staged = await asyncio.to_thread(self._stage, files)
        try:
            for name, file in files.items():
                if file is not None and isinstance(file.content, BlobReader):
                    await self._stream(file.content, staged / name)
            # The last step may be done though we are cancelled; then the claim stands, and is found.
            made = await asyncio.to_thread(self._folder.settle, staged, path)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(self._folder.discard, staged))
            raise
        if not made:
            await asyncio.to_thread(self._folder.discard, staged)
        return made

    def _stage(self, files: HostFiles) -> Path:
        known: dict[str, tuple[bytes | None, bool]] = {}
        for name, file in files.items():
            if file is None:
                known[name] = (None, False)
            elif isinstance(file.content, bytes):
                known[name] = (file.content, file.executable)
        staged = self._folder.stage()
        try:
            self._folder.fill(staged, known)
        except BaseException:
            self._folder.discard(staged)
            raise
        return staged

    async def _stream(self, source: BlobReader, target: Path) -> None:
        await asyncio.to_thread(self._folder.append, target, b"")
        while data := await source.read(CHUNK):
            await asyncio.to_thread(self._folder.append, target, data)

    @override
    async def spawn(self, path: str) -> None:
        if self._supervisors is None:
            raise SiteUnavailableError(f"Cannot start {path}: nobody watches the runs of {self.app} here.")
        await self._supervisors.spawn(self._folder.path / path, path)

    @override
    async def sh(self, program: str, *arguments: str) -> str:
        return await asyncio.to_thread(self._sh, program, *arguments)

    def _sh(self, program: str, *arguments: str) -> str:
        known: Mapping[str, Callable[[], str]] = {"{namespace}": pid_namespace, "{offset}": lambda: str(clock_offset())}
        words = [known[word]() if word in known else word for word in arguments]
        done = subprocess.run(  # noqa: S603  # a program of ours, and its words as arguments
            ["/bin/sh", "-c", program, "pydatatask", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.stdout.decode()

    @override
    async def open(self, path: str, offset: int = 0) -> BlobReader:
        return await FileReader.begin(self._folder.path / path, offset)

    @override
    async def remove(self, name: str) -> None:
        await asyncio.to_thread(self._folder.remove, name)

    @override
    async def sweep(self) -> None:
        await asyncio.to_thread(self._folder.sweep)

    @override
    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[str]]:
        await asyncio.to_thread(self._folder.prepare)
        lines: asyncio.Queue[str] = asyncio.Queue()
        checks: set[asyncio.Task[None]] = set()

        def gone(path: str) -> None:
            check = asyncio.ensure_future(self._look(path, lines))
            checks.add(check)
            check.add_done_callback(checks.discard)

        supervisors = self._supervisors = Supervisors(lines.put_nowait, gone)
        try:
            await self._look(None, lines)
            yield _heard(lines)
        finally:
            self._supervisors = None
            supervisors.close()
            for check in checks:
                check.cancel()
            await asyncio.gather(*checks, return_exceptions=True)

    async def _look(self, path: str | None, lines: asyncio.Queue[str]) -> None:
        """Tell of one run, or of all, and follow those that are alive."""
        told = (await self.sh(SCAN, self.basedir, "{namespace}", *([] if path is None else [path]))).splitlines()
        if path is None:
            told = ["all", *told, "end"]
        elif not told:
            told = [f"gone {path}"]
        for line in told:
            lines.put_nowait(line)
            supervisor = supervisor_in(line)
            if supervisor is not None and self._supervisors is not None:
                self._supervisors.adopt(supervisor)


async def _heard(lines: asyncio.Queue[str]) -> AsyncIterator[str]:
    while True:
        yield await lines.get()
