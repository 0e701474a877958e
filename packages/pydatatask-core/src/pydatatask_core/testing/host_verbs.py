"""The promises of :class:`ProcessManager`, verb by verb."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pytest
from typing_extensions import override

from ..errors import ConfigurationError, MissingJobError, SiteUnavailableError, StoreUnavailableError
from ..runs.host import HostFile, ProcessManager
from ..streams import BlobReader
from .host_suite import HostSuite, files, until

__all__ = ["HostVerbTests", "Pattern"]


class Pattern(BlobReader):
    """So many bytes that follow from nothing but their place. May break off on the way."""

    def __init__(self, size: int, breaks_at: int | None = None) -> None:
        self.size = size
        self.breaks_at = breaks_at
        self.given = 0
        self.largest = 0
        self.digest = hashlib.sha256()

    @override
    async def read(self, n: int = -1, /) -> bytes:
        assert n >= 0, "the whole value was asked for at once"
        self.largest = max(self.largest, n)
        if self.breaks_at is not None and self.given >= self.breaks_at:
            raise StoreUnavailableError("the pattern breaks off")
        count = min(n, self.size - self.given)
        data = b"".join(self.given.to_bytes(8) + bytes(1016) for _ in range(-(-count // 1024)))[:count]
        self.given += count
        self.digest.update(data)
        return data

    @override
    async def close(self) -> None:
        pass


class HostVerbTests(HostSuite):
    """Part of :class:`ProcessManagerTests`."""

    async def test_a_claim_is_made_whole(self, manager: ProcessManager) -> None:
        async with manager.watch():
            assert await manager.claim(
                "task@job",
                {
                    "claim": HostFile(b"me word\n"),
                    "1": None,
                    "1/cwd": None,
                    "1/script": HostFile(b"#!/bin/sh\n", executable=True),
                    "1/binary": HostFile(bytes(range(256))),
                    "1/deep/er/file": HostFile(b""),
                },
            )
            program = "cd $1 && find . -type f | sort && stat -c '%a %n' 1 1/cwd 1/binary 1/script"
            said = await self.on_host(program, f"{manager.basedir}/task@job")
            assert said.split() == [
                *("./1/binary", "./1/deep/er/file", "./1/script", "./claim"),
                *("700", "1", "700", "1/cwd", "600", "1/binary", "700", "1/script"),
            ]
            async with await manager.open("task@job/1/binary") as file:
                assert await file.read() == bytes(range(256))

    async def test_a_claim_of_what_stands_changes_nothing(self, manager: ProcessManager) -> None:
        async with manager.watch():
            assert await manager.claim("task@job", files(claim=b"first\n"))
            assert not await manager.claim("task@job", files(claim=b"second\n", more=b""))
            assert await self.left(manager) == ["./task@job", "./task@job/claim"]
            async with await manager.open("task@job/claim") as file:
                assert await file.read() == b"first\n"

    async def test_a_claim_in_a_folder_that_does_not_exist(self, manager: ProcessManager) -> None:
        async with manager.watch():
            with pytest.raises(FileNotFoundError):
                await manager.claim("task@job/2", files(limits=b"\n"))
            assert await self.left(manager) == []

    async def test_a_claim_streams_what_is_large(self, manager: ProcessManager) -> None:
        large = Pattern(self.megabytes << 20)
        async with manager.watch():
            assert await manager.claim("task@job", {"stdin": HostFile(large)})
            said = await self.on_host('sha256sum < "$1"', f"{manager.basedir}/task@job/stdin")
        assert said.split()[0] == large.digest.hexdigest()
        assert large.largest <= 4 << 20

    async def test_a_claim_whose_source_fails_leaves_nothing(self, manager: ProcessManager) -> None:
        async with manager.watch():
            with pytest.raises(StoreUnavailableError, match="breaks off"):
                await manager.claim("task@job", {"stdin": HostFile(Pattern(9 << 20, breaks_at=3 << 20))})
            await self.nothing_is_left(manager)

    async def test_a_claim_is_made_though_somebody_took_all_folders_away(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await self.on_host('rm -rf "$1"', self.base(manager))
            assert await manager.claim("task@job", files(claim=b"me word\n"))
            assert await self.left(manager) == ["./task@job", "./task@job/claim"]

    async def test_a_claim_that_somebody_took_away_while_it_was_made(self, manager: ProcessManager) -> None:
        on_host = self.on_host

        class TakenAway(Pattern):
            @override
            async def read(self, n: int = -1, /) -> bytes:
                data = await super().read(n)
                if not data:
                    await on_host('rm -rf "$1"/.new/*', manager.basedir)
                return data

        async with manager.watch():
            with pytest.raises(SiteUnavailableError, match="taken away"):
                await manager.claim("task@job", {"stdin": HostFile(TakenAway(1 << 20))})
            await self.nothing_is_left(manager)

    async def test_a_claim_that_is_cancelled_is_whole_or_nothing(self, manager: ProcessManager) -> None:
        async with manager.watch():
            for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
                name = f"task@job{turns}"
                claim = asyncio.ensure_future(manager.claim(name, files(claim=b"whole\n", other=b"whole\n")))
                for _ in range(turns):
                    await asyncio.sleep(0)
                claim.cancel()
                await asyncio.wait({claim})
            await manager.sweep()
            said = await self.on_host(
                'cd "$1" && for d in task@*; do [ ! -d "$d" ] || cat "$d"/*; done', manager.basedir
            )
            assert set(said.split()) <= {"whole"}
            assert said.count("whole") % 2 == 0

    async def test_the_folders_are_ours_alone(self, manager: ProcessManager) -> None:
        async with manager.watch():
            said = await self.on_host('stat -c %a "$1" "$2"', self.base(manager), manager.basedir)
        assert said.split() == ["700", "700"]

    @pytest.mark.parametrize("inner", ["", "/app-folder"])
    async def test_a_folder_of_somebody_else_is_refused(self, manager: ProcessManager, inner: str) -> None:
        base = self.base(manager)
        taken = base if not inner else manager.basedir
        await self.on_host('mkdir -m 700 -p "$1" && chown 12345 "$1" && chmod 777 "$1"', taken, as_root=True)
        if inner:
            # Its parent is ours.
            await self.on_host('chown "$(id -u "$2")" "$1"', base, await self._user(), as_root=True)
        with pytest.raises(ConfigurationError, match="no folder of ours"):
            async with manager.watch():
                pass

    async def test_a_base_folder_that_is_a_link_is_refused(self, manager: ProcessManager) -> None:
        base = self.base(manager)
        await self.on_host('mkdir -p "$1.real" && ln -s "$1.real" "$1"', base)
        with pytest.raises(ConfigurationError, match="no folder of ours"):
            async with manager.watch():
                pass

    async def _user(self) -> str:
        return (await self.on_host("id -un")).strip()

    async def test_a_program_gets_its_words_as_they_are(self, manager: ProcessManager) -> None:
        words = ["a b", "'", '"$HOME"', "*", "-n", "\\", "a;b", "x y  z"]
        async with manager.watch():
            said = await manager.sh('for word in "$@"; do printf "%s\\n" "$word"; done', *words)
        assert said.splitlines() == words

    async def test_a_program_learns_of_namespace_and_clock(self, manager: ProcessManager) -> None:
        before = time.time()
        async with manager.watch():
            said = await manager.sh(
                'read -r up rest < /proc/uptime; echo "$1 $(readlink /proc/self/ns/pid)"; '
                "echo $((${up%.*}${up#*.} + $2))",
                "{namespace}",
                "{offset}",
            )
        given, real, now = said.split()
        assert given == real
        assert before - 5 < int(now) / 100 < time.time() + 5, "times of the host are off"

    async def test_a_program_that_fails_gives_what_it_printed(self, manager: ProcessManager) -> None:
        async with manager.watch():
            assert await manager.sh("echo before; exit 3") == "before\n"

    async def test_a_file_is_read_from_a_byte_on(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await manager.claim("task@job", files(stdout=b"0123456789"))
            async with await manager.open("task@job/stdout", 4) as file:
                assert await file.read(3) == b"456"
                assert await file.read(100) == b"789"
                assert await file.read(100) == b""
                assert await file.read() == b""
            await file.close()
            with pytest.raises(ValueError, match="closed"):
                await file.read(1)

    async def test_a_file_that_grows_is_read_on(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await manager.claim("task@job", files(stdout=b"one"))
            path = f"{manager.basedir}/task@job/stdout"
            async with await manager.open("task@job/stdout") as file:
                assert await file.read(100) == b"one"
                assert await file.read(100) == b""
                await self.on_host('printf two >> "$1"', path)
                assert await file.read(100) == b"two"

    async def test_a_large_file_is_read_as_it_is(self, manager: ProcessManager) -> None:
        large = Pattern((self.megabytes << 20) + 12345)
        async with manager.watch():
            await manager.claim("task@job", {"stdout": HostFile(large)})
            digest, size = hashlib.sha256(), 0
            async with await manager.open("task@job/stdout") as file:
                while data := await file.read(100_003):
                    digest.update(data)
                    size += len(data)
        assert size == large.size
        assert digest.hexdigest() == large.digest.hexdigest()

    async def test_a_file_that_does_not_exist(self, manager: ProcessManager) -> None:
        async with manager.watch():
            with pytest.raises(MissingJobError):
                await manager.open("task@job/1/stdout")

    async def test_removing_takes_everything(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await manager.claim(
                "task@job", {"claim": HostFile(b""), "1/cwd/deep": None, "1/cwd/deep/file": HostFile(b"")}
            )
            await self.on_host('cd "$1/task@job/1" && chmod 0 cwd/deep && chmod 500 cwd', manager.basedir)
            await manager.remove("task@job")
            await self.nothing_is_left(manager)
            await manager.remove("task@job")

    async def test_a_sweep_takes_what_was_left_and_nothing_else(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await manager.claim("task@job", files(claim=b""))
            await self.on_host(
                'cd "$1" && mkdir -p .new/half/1 .old/rest/1 && echo > .new/half/1/x && chmod 0 .old/rest/1',
                manager.basedir,
            )
            await manager.sweep()
            assert await self.left(manager) == ["./task@job", "./task@job/claim"]

    async def test_a_watch_begins_with_all_runs(self, manager: ProcessManager) -> None:
        async with manager.watch():
            await manager.claim("task@job", {"claim": HostFile(b"me word\n"), "1": None, "2": None})
        async with manager.watch() as lines, asyncio.timeout(self.deadline):
            told = [await anext(lines) for _ in range(4)]
        assert (told[0], told[-1]) == ("all", "end")
        assert [line.split()[:3] for line in told[1:-1]] == [["task@job/1", "me", "word"], ["task@job/2", "me", "word"]]

    async def test_what_another_controller_starts_is_told(self, manager: ProcessManager, twin: ProcessManager) -> None:
        if not self.sees_others:
            pytest.skip("watches do not tell of what other controllers start")
        scene = self.scene(twin, "true")
        async with manager.watch() as lines, scene.followed():
            run = await self.claimed(scene)
            await scene.task.site.start(run)

            async def ended() -> bool:
                line = await anext(lines)
                return line.startswith("task@job/1 ") and not line.endswith(" -")

            async with asyncio.timeout(self.deadline):
                await until(ended, "the end was told", self.deadline)
            await scene.task.site.release("task", "job")

    async def test_a_run_is_started_once_however_often_it_is_spawned(self, manager: ProcessManager) -> None:
        scene = self.scene(manager, 'echo once >> "$PWD/../../../log"; sleep 0.3')
        async with scene.followed() as observation:
            run = await self.claimed(scene)
            await asyncio.gather(*(manager.spawn("task@job/1") for _ in range(5)))
            await self.seen(observation, run, lambda seen: seen.result == "success", "it ended")
            await manager.spawn("task@job/1")
            await manager.spawn("task@job/2")
        assert await self.on_host('cat "$1/log"', manager.basedir) == "once\n"
