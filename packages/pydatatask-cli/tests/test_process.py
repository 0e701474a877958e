"""The real command in a process of its own: how it finds the pipeline, and what goes to which stream."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_process import COMMAND, DEADLINE, TESTS, Place

pytestmark = pytest.mark.slow

BOOKS = str(TESTS / "pipelines" / "books.py")


def test_data_goes_to_standard_output_and_narration_to_standard_error(place: Place) -> None:
    place.write("texts", "a", b"hello")
    place.write("texts", "b", b"bad")
    ran = place.script("books", "run")
    assert ran.code == 1
    assert ran.out == ""
    assert "summary: 1 done, 1 failed" in ran.err
    listed = place.script("books", "ls", "summary.done")
    assert (listed.code, listed.out, listed.err) == (0, "a\nb\n", "")
    status = place.script("books", "status", "--json")
    assert status.err == ""
    assert json.loads(status.out)["schema_version"] == 1


def test_the_command_finds_the_pipeline_of_a_file(place: Place) -> None:
    place.write("texts", "a")
    for spec in (BOOKS, f"{BOOKS}:pipeline"):
        ended = place.command("-p", spec, "ls", "summary.texts")
        assert (ended.code, ended.out, ended.err) == (0, "a\n", "")
    assert place.command("ls", "summary.texts", PYDATATASK_PIPELINE=BOOKS).out == "a\n"


def test_the_command_finds_the_pipeline_of_a_module(place: Place) -> None:
    place.write("texts", "a")
    shutil.copy(BOOKS, place.folder / "mine.py")
    for spec in ("mine", "mine:pipeline", "mine.py"):
        assert place.command("-p", spec, "ls", "summary.texts").out == "a\n"
    (place.folder / "pack").mkdir()
    shutil.copy(BOOKS, place.folder / "pack" / "inner.py")
    assert place.command("-p", "pack.inner", "ls", "summary.texts").out == "a\n"


@pytest.mark.parametrize(
    ("spec", "text", "said"),
    [
        ("none.py", None, "there is no file none.py"),
        ("none", None, "there is no module 'none'"),
        ("a b", None, "neither a file nor a module name"),
        ("made.py", "x = 1", "made.py holds no Pipeline"),
        ("made.py", "import nowhere", "ModuleNotFoundError: No module named 'nowhere' ("),
        ("made", "import nowhere", "ModuleNotFoundError: No module named 'nowhere' ("),
        ("made.py", "x = = 1", "invalid syntax"),
        ("made.py", "1/0", "ZeroDivisionError: division by zero ("),
        ("made.py", "raise SystemExit(3)", "SystemExit: 3"),
        (
            "made.py:other",
            "from pydatatask_core import *\nthis = Pipeline([], Session())",
            "has no 'other'. There is: this.",
        ),
        ("made.py:x", "x = 1", "has 'x', which is no Pipeline"),
        (
            "made.py",
            "from pydatatask_core import *\none, two = Pipeline([], Session()), Pipeline([], Session())",
            "made.py holds 2 pipelines. Name one: made.py:one.",
        ),
    ],
)
def test_a_pipeline_that_does_not_load_has_a_code_of_its_own(
    place: Place, spec: str, text: str | None, said: str
) -> None:
    if text is not None:
        (place.folder / "made.py").write_text(text)
    ended = place.command("-p", spec, "status")
    assert (ended.code, ended.out) == (3, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_while_a_pipeline_loads(place: Place) -> None:
    (place.folder / "made.py").write_text("raise KeyboardInterrupt")
    for spec in ("made.py", "made"):
        ended = place.command("-p", spec, "status")
        assert (ended.code, ended.err.strip()) == (130, "Interrupted.")


def test_two_names_of_one_pipeline_are_no_riddle(place: Place) -> None:
    (place.folder / "made.py").write_text("from pydatatask_core import *\none = two = Pipeline([], Session())")
    assert place.command("-p", "made.py", "graph").code == 0


def test_debug_shows_why_a_pipeline_does_not_load(place: Place) -> None:
    (place.folder / "made.py").write_text("1/0")
    assert "Traceback" in place.command("--debug", "-p", "made.py", "status").err


def test_without_a_pipeline_the_command_says_how_to_give_one(place: Place) -> None:
    ended = place.command("status")
    assert ended.code == 2
    assert "-p FILE_OR_MODULE[:NAME]" in ended.err


@pytest.mark.parametrize("spec", ["pool.py", "pool"])
def test_workers_find_a_task_of_a_pipeline_given_by_p(place: Place, spec: str) -> None:
    shutil.copy(TESTS / "pipelines" / "workers.py", place.folder / "pool.py")
    place.write("texts", "a")
    ran = place.command("-p", spec, "run")
    assert ran.code == 0, ran.err
    assert place.jobs("out") == ["a"]


def test_help_and_the_door_load_neither_the_core_nor_rich(place: Place) -> None:
    program = (
        "import sys\n"
        "import pydatatask_cli\n"
        "from pydatatask_cli.app import make_group\n"
        "from pydatatask_cli.invocation import Invocation, invoke\n"
        "code = invoke(make_group(any_pipeline=True), Invocation(), 'pydatatask', ['--help'])\n"
        "print(code, [name for name in ('rich', 'pydatatask_core', 'asyncio', 'yaml') if name in sys.modules])\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=DEADLINE, check=True)
    assert ended.stdout.decode().endswith("\n0 []\n")


def test_a_script_loads_no_rich_before_it_draws(place: Place) -> None:
    program = (
        "import sys\n"
        "sys.argv = ['main.py', 'status']\n"
        "import pydatatask_cli\n"
        "from pydatatask_core import Pipeline, Session\n"
        "try:\n"
        "    pydatatask_cli.main(Pipeline([], Session()))\n"
        "finally:\n"
        "    print('rich' in sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=DEADLINE, check=True)
    assert ended.stdout.decode() == "False\n"


def test_a_reader_that_goes_away_is_no_error(place: Place) -> None:
    (place.folder / "texts").mkdir()
    for number in range(20000):
        (place.folder / "texts" / f"job-{number:050}").touch()
    argv = [sys.executable, BOOKS, "ls", "summary.texts"]
    process = subprocess.Popen(
        argv, cwd=place.folder, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(DEADLINE) == 141
    assert said == b""


def test_a_full_disk_below_standard_output_is_an_error(place: Place) -> None:
    place.write("texts", "a", b"hello")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, BOOKS, "cat", "summary.texts", "a"],
            cwd=place.folder,
            env=place.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=DEADLINE,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"Error: OSError: [Errno 28] No space left on device\n")
    assert b"Exception ignored" not in ended.stderr


def test_plain_progress_is_said_where_nobody_looks(place: Place) -> None:
    place.write("texts", "a", b"hello")
    ran = place.script("books", "run", FORCE_COLOR="1")
    assert "\x1b" not in ran.err + ran.out


def test_the_library_speaks_through_a_scripts_own_logging(place: Place) -> None:
    (place.folder / "mine.py").write_text(
        f"import logging, sys\nsys.path.insert(0, {str(Path(BOOKS).parent)!r})\n"
        "logging.basicConfig(format='LOG %(message)s')\n"
        "import books, pydatatask_cli\npydatatask_cli.main(books.pipeline)\n"
    )
    place.write("texts", "no job id", b"")
    argv = [sys.executable, "mine.py", "ls", "summary.texts"]
    ended = subprocess.run(argv, cwd=place.folder, env=place.environment, capture_output=True, timeout=DEADLINE)
    assert ended.stderr.decode().startswith("LOG ")
    ended = subprocess.run(
        [*COMMAND, "-p", BOOKS, "ls", "summary.texts"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        timeout=DEADLINE,
    )
    assert "skipped 1 stored keys" in ended.stderr.decode()
    assert ended.returncode == 5


def test_a_script_reached_through_a_link_has_the_same_lock(place: Place) -> None:
    place.write("texts", "a")
    link = place.folder / "alias.py"
    link.symlink_to(TESTS / "pipelines" / "waiting.py")
    by_itself = json.loads(place.script("waiting", "status", "--json").out)["lock"]
    by_p = json.loads(place.command("-p", str(link), "status", "--json").out)["lock"]
    assert by_itself is not None
    assert by_p == by_itself
    through_link = subprocess.run(
        [sys.executable, str(link), "status", "--json"], cwd=place.folder, env=place.environment, capture_output=True
    )
    assert json.loads(through_link.stdout)["lock"] == by_itself
