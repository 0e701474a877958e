from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.checks.steps import Step, StepFailedError, perform, run, run_tests


def passes() -> None:
    run(sys.executable, "-c", "")


def fails() -> None:
    run(sys.executable, "-c", "raise SystemExit(3)")


def test_the_first_fault_ends_the_run_and_the_last_line_names_it(capfd: pytest.CaptureFixture[str]) -> None:
    reached: list[str] = []
    status = perform([Step("one", passes), Step("two", fails), Step("three", lambda: reached.append("three"))])
    last = capfd.readouterr().out.splitlines()[-1]
    assert status == 1
    assert reached == []
    assert last.startswith("FAILED at step 2 of 3, two: ")
    assert "exited with 3" in last


def test_a_good_run_ends_with_one_line_for_all(capfd: pytest.CaptureFixture[str]) -> None:
    assert perform([Step("one", passes), Step("two", passes)]) == 0
    out = capfd.readouterr().out
    assert out.splitlines()[-1].startswith("All 2 steps passed in ")
    assert "== 1/2  one" in out


def test_an_interrupt_is_told_from_a_fault(capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert perform([Step("one", interrupted)]) == 130
    assert capfd.readouterr().out.splitlines()[-1].startswith("INTERRUPTED at step 1 of 1, one")


def test_a_command_has_no_standard_input(capfd: pytest.CaptureFixture[str]) -> None:
    run(sys.executable, "-c", "import sys; print('got', repr(sys.stdin.read()))")
    assert "got ''" in capfd.readouterr().out


@pytest.mark.slow
def test_finding_no_tests_is_a_fault_unless_it_was_expected(tmp_path: Path) -> None:
    python = Path(sys.executable)
    with pytest.raises(StepFailedError, match="found no tests"):
        run_tests(python, tmp_path, cwd=tmp_path)
    run_tests(python, tmp_path, cwd=tmp_path, may_be_empty=True)
