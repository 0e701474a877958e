"""The example of this member's README does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_the_example_counts_each_text_once(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "pipeline.py").write_text(example)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "short.txt").write_text("three words here\n")
    for _ in range(2):
        subprocess.run([sys.executable, "pipeline.py", "run"], cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "counts" / "short.txt").read_text() == "3\n"
        (tmp_path / "texts" / "short.txt").write_text("a replaced text is not counted again\n")
    assert (tmp_path / "done" / "short.yaml").exists()
