"""The README's example runs as it is written."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
from registry import BackDoor, Registry

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(registry: Registry, tmp_path: Path) -> None:
    async def push() -> None:
        async with aiohttp.ClientSession() as http:
            await BackDoor(http, registry.domain, "team/app").push("1.0", b"image")

    asyncio.run(push())
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    program = tmp_path / "example.py"
    program.write_text(example)
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "REGISTRY": registry.domain},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {"withdomain": f"{registry.domain}/team/app:1.0", "withoutdomain": "team/app:1.0"}
    assert done.stdout.splitlines() == ["['1.0']", str(names)]
