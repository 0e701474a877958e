"""This machine keeps the promises of a host."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from pydatatask_core.testing.hosts import ProcessManagerTests
from pydatatask_exec_local import LocalLinuxManager
from typing_extensions import override


class TestLocalLinuxManager(ProcessManagerTests):
    sees_others = False

    @pytest.fixture
    def manager(self, tmp_path: Path) -> LocalLinuxManager:
        return LocalLinuxManager("app", tmp_path / "base")

    @pytest.fixture
    def twin(self, tmp_path: Path) -> LocalLinuxManager:
        return LocalLinuxManager("app", tmp_path / "base")

    @override
    async def on_host(self, program: str, *arguments: str, as_root: bool = False) -> str:
        if as_root and os.geteuid() != 0:
            pytest.skip("only root can give a folder to somebody else")
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", program, "sh", *arguments, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, (program, arguments)
        return output.decode()
