"""The README's example runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(url: str, name: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    program = tmp_path / "example.py"
    # In a database of this test's own.
    program.write_text(example.replace('"library"', repr(name.replace("/", "-"))))
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "MONGO_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "['moby-dick']",
        "{'author': 'Herman Melville', 'year': 1851}",
        "[{'_id': 'moby-dick', 'author': 'Herman Melville', 'year': 1851}]",
    ]
