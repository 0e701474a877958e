"""What somebody at a terminal sees, on a pseudo-terminal."""

from __future__ import annotations

import os
import sys

import pytest
from cli_process import TESTS, Place
from cli_terminal import Terminal, plain

pytestmark = pytest.mark.slow

GATED = [sys.executable, str(TESTS / "pipelines" / "gated.py")]
BOOKS = [sys.executable, str(TESTS / "pipelines" / "books.py")]


def test_a_run_shows_a_live_table_and_leaves_a_summary(place: Place) -> None:
    os.mkfifo(place.folder / "gate")
    for job in ("a", "b"):
        place.write("texts", job)
    with Terminal(place, [*GATED, "run"], KIND="waits") as terminal:
        shown = terminal.wait_for(r"work +- +1 +1 +- +- +- +-")
        assert "task" in shown
        assert "retrying" in shown
        assert "began" in shown
        with open(place.folder / "gate", "wb", buffering=0) as gate:
            gate.write(b"x")
            terminal.wait_for(r"work: 2 done")
        assert terminal.end() == 0
        # The table is gone, and the cursor is back.
        assert terminal.seen.rstrip().endswith("s.")
        assert terminal.seen.count("\x1b[?25l") == terminal.seen.count("\x1b[?25h") == 1
        assert "\x1b[1m" in terminal.seen


def test_ctrl_c_at_a_terminal(place: Place) -> None:
    os.mkfifo(place.folder / "gate")
    place.write("texts", "a")
    with Terminal(place, [*GATED, "run"], KIND="waits") as terminal:
        terminal.wait_for("began a")
        terminal.type("\x03")
        terminal.wait_for("Starting nothing more, waiting for 1 run to end. Once more stops at once.")
        terminal.type("\x03")
        terminal.wait_for("Interrupted.")
        assert terminal.end() == 130
        assert "\x1b[?25h" in terminal.seen


def test_the_cursor_is_back_after_a_run_that_had_to_be_left_as_it_stood(place: Place) -> None:
    place.write("texts", "a")
    with Terminal(place, [*GATED, "run"], KIND="blocks") as terminal:
        terminal.wait_for("began a")
        assert terminal.interrupt_until_it_ends() == 130
        assert terminal.seen.rindex("\x1b[?25h") > terminal.seen.rindex("\x1b[?25l")


def test_no_color_is_obeyed(place: Place) -> None:
    place.write("texts", "a", b"bad")
    with Terminal(place, [*BOOKS, "run"], NO_COLOR="1") as terminal:
        assert terminal.end() == 1
        assert "summary: 1 failed" in plain(terminal.seen)
        assert "\x1b[3" not in terminal.seen
    with Terminal(place, [*BOOKS, "status"], NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "\x1b[3" not in terminal.seen


def test_a_dumb_terminal_gets_plain_lines(place: Place) -> None:
    place.write("texts", "a", b"hello")
    with Terminal(place, [*BOOKS, "run"], TERM="dumb") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.seen
    with Terminal(place, [*BOOKS, "status"], TERM="dumb") as terminal:
        assert terminal.end() == 0
        assert "summary.texts 1\r\n" in terminal.seen


def test_status_is_a_table(place: Place) -> None:
    place.write("texts", "a", b"hello")
    with Terminal(place, [*BOOKS, "status"]) as terminal:
        assert terminal.end() == 0
        lines = plain(terminal.seen).splitlines()
        assert any(line.split() == ["task", "repository", "role", "jobs"] for line in lines)
        assert any(line.split() == ["summary", "summary.texts", "input", "1"] for line in lines)
        assert any(line.split() == ["summary.done", "status", "0"] for line in lines)


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, []), ("n", 1, ["a", "b"]), ("", 1, ["a", "b"])])
def test_rm_asks_at_a_terminal(place: Place, answer: str, code: int, left: list[str]) -> None:
    for job in ("a", "b"):
        place.write("texts", job)
    with Terminal(place, [*BOOKS, "rm", "summary.texts", "*"]) as terminal:
        shown = terminal.wait_for(r"Delete all of this\? \[y/N\]: ")
        assert "summary.texts: a, b" in shown
        terminal.type(f"{answer}\r")
        assert terminal.end() == code
    assert place.jobs("texts") == left


def test_ctrl_c_at_a_question_deletes_nothing(place: Place) -> None:
    place.write("texts", "a")
    with Terminal(place, [*BOOKS, "rm", "summary.texts", "*"]) as terminal:
        terminal.wait_for(r"Delete all of this")
        assert terminal.interrupt_until_it_ends() == 130
    assert place.jobs("texts") == ["a"]


def test_inject_says_how_to_end_and_takes_what_is_typed(place: Place) -> None:
    with Terminal(place, [*BOOKS, "inject", "summary.texts", "a"]) as terminal:
        terminal.wait_for("end it with Ctrl-D")
        terminal.type("typed\r\x04")
        assert terminal.end() == 0
    assert (place.folder / "texts" / "a").read_bytes() == b"typed\n"


def test_ctrl_c_at_inject_stores_nothing(place: Place) -> None:
    with Terminal(place, [*BOOKS, "inject", "summary.texts", "a"]) as terminal:
        terminal.wait_for("end it with Ctrl-D")
        terminal.type("typed\r")
        terminal.wait_for("typed\n")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert place.jobs("texts") == []


def test_the_shell_awaits_and_survives_mistakes_and_ctrl_c(place: Place) -> None:
    place.write("texts", "a", b"hello")
    os.mkfifo(place.folder / "gate")
    with Terminal(place, [*BOOKS, "shell"]) as terminal:
        terminal.wait_for(">>> ")
        terminal.type("[job async for job in tasks['summary'].links['texts'].repo]\r")
        terminal.wait_for(r"\n\['a'\]\n>>> $")
        terminal.type("1/0\r")
        terminal.wait_for(r"ZeroDivisionError: division by zero\n>>> $")
        terminal.type("x = await tasks['summary'].links['texts'].repo.info('a'); print(len(x) > 3)\r")
        terminal.wait_for(r"\nTrue\n>>> $")
        terminal.type("import asyncio; print('wait' + 'ing'); await asyncio.Event().wait()\r")
        terminal.wait_for("\nwaiting")
        terminal.type("\x03")
        terminal.wait_for(r"KeyboardInterrupt\n>>> $")
        terminal.type("len(pipeline.tasks) + 40\r")
        terminal.wait_for(r"\n42\n>>> $")
        terminal.type("\x04")
        assert terminal.end() == 0
