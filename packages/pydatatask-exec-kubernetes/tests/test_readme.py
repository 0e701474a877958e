"""The example of this member's README does what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from namespaces import BUSYBOX, DEADLINE, Namespace

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
async def test_the_example_counts_each_text_in_a_pod(tmp_path: Path, namespace: Namespace) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "pipeline.py").write_text(example)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "short.yaml").write_text('text: three "quoted" words\n')
    environment = {**os.environ, "NAMESPACE": namespace.name, "IMAGE": BUSYBOX, "XDG_STATE_HOME": str(tmp_path)}

    process = await asyncio.create_subprocess_exec(sys.executable, "pipeline.py", "run", cwd=tmp_path, env=environment)
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0

    assert (tmp_path / "logs" / "short.txt").read_text() == "3\n"
    assert (tmp_path / "done" / "short.yaml").exists()
