"""Claims that are cancelled while a thread makes them: whole, or nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from pydatatask_core.runs.host import HostFile
from pydatatask_exec_local import LocalLinuxManager
from pydatatask_exec_local.folder import Folder

DEADLINE = 60.0


@pytest.mark.parametrize("first", ["settled", "discarded"])
async def test_a_claim_that_is_cancelled_while_it_is_renamed_is_whole_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    settle, delete = Folder.settle, "pydatatask_exec_local.folder._delete"
    settling, go, settled = (threading.Event() for _ in range(3))

    def settle_when_told(self: Folder, staged: Path, name: str) -> bool:
        settling.set()
        assert go.wait(DEADLINE)
        try:
            return settle(self, staged, name)
        finally:
            settled.set()

    def delete_half_of_it(path: Path) -> None:
        (path / "claim").unlink()
        go.set()
        assert settled.wait(DEADLINE)

    monkeypatch.setattr(Folder, "settle", settle_when_told)
    manager = LocalLinuxManager("app", tmp_path / "base")
    async with manager.watch():
        files = {"claim": HostFile(b"whole"), "other": HostFile(b"whole")}
        claim = asyncio.ensure_future(manager.claim("task@job", files))
        assert await asyncio.to_thread(settling.wait, DEADLINE)
        monkeypatch.setattr(delete, delete_half_of_it)
        claim.cancel()
        if first == "settled":
            go.set()
            assert await asyncio.to_thread(settled.wait, DEADLINE)
        await asyncio.wait({claim})
        go.set()
        assert await asyncio.to_thread(settled.wait, DEADLINE)
    made = tmp_path / "base" / "app" / "task@job"
    assert not made.exists() or sorted(path.name for path in made.iterdir()) == ["claim", "other"]
