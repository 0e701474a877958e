"""The README's example runs as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from cli_process import COMMAND, DEADLINE, TESTS, Place
from pydatatask_cli.app import VERBS
from pydatatask_cli.exits import ExitCode

README = (TESTS.parent / "README.md").read_text()


def test_the_example_runs(place: Place) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code) == 1
    Path(place.folder / "shout.py").write_text(code[0])
    for argv in ([sys.executable, "shout.py", "run"], [*COMMAND, "-p", "shout:pipeline", "run"]):
        ended = subprocess.run(
            argv, cwd=place.folder, env=place.environment, capture_output=True, timeout=DEADLINE, check=True
        )
        assert ended.stdout == b"CALL ME ISHMAEL.\n"
        assert b"shout: 1 done" in ended.stderr


def test_every_verb_and_exit_code_is_explained() -> None:
    verbs = re.findall(r"^\| `(\w+)", README, re.MULTILINE)
    assert list(dict.fromkeys(verbs)) == list(VERBS)
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)]
    assert codes == [code for code in ExitCode if code is not ExitCode.READER_GONE]
