"""The example of the README of pods does what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from programs import run

pytestmark = pytest.mark.slow

README = Path(__file__).parents[1] / "packages" / "pydatatask-exec-kubernetes" / "README.md"
BUSYBOX = os.environ.get("PYDATATASK_TEST_BUSYBOX_IMAGE") or "busybox"


def test_the_example_counts_each_text_in_a_pod(tmp_path: Path, namespace: str) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "pipeline.py").write_text(example)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "short.yaml").write_text('text: three "quoted" words\n')

    ended = run(tmp_path / "pipeline.py", "run", cwd=tmp_path, env={"NAMESPACE": namespace, "IMAGE": BUSYBOX})

    assert ended.code == 0, ended.err
    assert (tmp_path / "logs" / "short.txt").read_text() == "3\n"
    assert (tmp_path / "done" / "short.yaml").exists()
