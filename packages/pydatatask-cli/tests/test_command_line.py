"""What holds for every verb: job ids, exit codes, help, and how errors are shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import pydatatask_cli
import pytest
from cli_books import MemoryBooks, call
from pydatatask_cli.app import VERBS, make_group
from pydatatask_cli.errors import LoadError, UnknownNameError, UsageError, did_you_mean
from pydatatask_cli.exits import ExitCode, exit_code, lines_of
from pydatatask_cli.expression import ExpressionError
from pydatatask_cli.invocation import Invocation, invoke
from pydatatask_core import errors
from pydatatask_core.errors import ConfigurationError, JobIdError, StoreUnavailableError

Captured = pytest.CaptureFixture[str]

TAKES_JOB = ["launch summary {}", "trace {}", "why summary {}", "cat summary.texts {}", "inject summary.texts {}"]


@pytest.mark.parametrize("line", [*TAKES_JOB, "trace fine {}", "rm --yes summary.texts {}", "rm -r --yes summary {}"])
@pytest.mark.parametrize("job", ["_x", "a/b", "a b", "x" * 64, "é", "-x", "..", "", "a\nb"])
def test_an_invalid_job_id_is_refused_by_every_verb(books: MemoryBooks, capsys: Captured, line: str, job: str) -> None:
    before, _, after = line.partition("{}")
    assert books.call(*before.split(), "--", job, *after.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "is no valid job id" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (asyncio.CancelledError(), 130),
        (click.Abort(), 130),
        (click.UsageError("no"), 2),
        (UsageError("no"), 2),
        (UnknownNameError("no"), 2),
        (ExpressionError("x", 0, "no"), 2),
        (JobIdError("no"), 2),
        (LoadError("no"), 3),
        (ConfigurationError("no"), 3),
        (errors.TemplateError("no"), 3),
        (errors.SessionClosedError("no"), 3),
        (StoreUnavailableError("no"), 4),
        (errors.StoreCredentialsError("no"), 4),
        (errors.StorePermissionError("no"), 4),
        (errors.StoreFullError("no"), 4),
        (errors.SiteUnavailableError("no"), 4),
        (ConnectionRefusedError("no"), 4),
        (errors.MissingJobError("no"), 5),
        (errors.LockHeldError("no"), 6),
        (errors.ConflictError("no"), 1),
        (errors.MalformedValueError("no"), 1),
        (TimeoutError("no"), 124),
        (RuntimeError("no"), 1),
        (ExceptionGroup("", [RuntimeError("no"), StoreUnavailableError("no")]), 4),
        (ExceptionGroup("", [StoreUnavailableError("no"), ExceptionGroup("", [ConfigurationError("no")])]), 3),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exit_code(error) == code


def test_every_error_of_the_core_has_an_exit_code() -> None:
    for name in errors.__all__:
        assert exit_code(getattr(errors, name)("no")) in ExitCode


def test_an_error_is_shown_in_one_line_and_a_group_in_one_line_each() -> None:
    group = ExceptionGroup("two", [ConfigurationError("Rename one."), ExceptionGroup("one", [ValueError("odd")])])
    assert lines_of(group) == ["Rename one.", "ValueError: odd"]
    assert lines_of(RuntimeError()) == ["RuntimeError"]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("sumary", ["summary", "index"], "Did you mean summary?"),
        ("indes", ["index", "indexes", "indices"], "Did you mean indices, indexes or index?"),
        ("x", ["summary", "index"], "There is: index, summary."),
        ("x", [], "There is none."),
    ],
)
def test_a_suggestion_names_what_is_close_or_all_there_is(name: str, known: list[str], said: str) -> None:
    assert did_you_mean(name, known) == said


def failing(error: BaseException) -> Callable[[click.Group], None]:
    @click.command
    def fail() -> None:
        raise error

    return lambda group: group.add_command(fail)


def call_with(instrument: Callable[[click.Group], None], *args: str) -> int:
    group = make_group(any_pipeline=False)
    instrument(group)
    return invoke(group, Invocation(), "main.py", list(args))


def test_debug_shows_the_traceback(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    instrument = failing(RuntimeError("odd"))
    assert call_with(instrument, "fail") == 1
    assert capsys.readouterr().err == "Error: RuntimeError: odd\nUse --debug to see where it happened.\n"
    assert call_with(instrument, "--debug", "fail") == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv("PYDATATASK_DEBUG", "1")
    assert call_with(instrument, "fail") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("ending", "code"), [(None, 0), (7, 7), ("said why", 1)])
def test_a_verb_of_a_script_may_exit_as_it_likes(capsys: Captured, ending: str | int | None, code: int) -> None:
    assert call_with(failing(SystemExit(ending)), "fail") == code
    assert capsys.readouterr().err == ("said why\n" if ending == "said why" else "")


def test_instrument_adds_verbs_and_replaces_ours(books: MemoryBooks, capsys: Captured) -> None:
    def instrument(group: click.Group) -> None:
        @group.command()
        @click.pass_obj
        def hello(invocation: Invocation) -> None:
            """Greet the tasks."""
            click.echo(" ".join(invocation.pipeline.tasks))

        @group.command(name="graph")
        def other() -> int:
            """Draw it differently."""
            return 9

    group = make_group(any_pipeline=False)
    instrument(group)
    assert invoke(group, Invocation(given=books.pipeline), "main.py", ["hello"]) == 0
    assert capsys.readouterr().out == "summary index\n"
    assert invoke(group, Invocation(given=books.pipeline), "main.py", ["graph"]) == 9
    assert invoke(group, Invocation(given=books.pipeline), "main.py", ["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Greet the tasks." in shown
    assert "Draw it differently." in shown
    assert "Show which task feeds which." not in shown


def test_main_exits_with_the_code(books: MemoryBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["main.py", "ls", "summary.texts"])
    with pytest.raises(SystemExit) as caught:
        pydatatask_cli.main(books.pipeline)
    assert caught.value.code == 5


@pytest.mark.parametrize("line", ["", "nonsense", "run --nonsense", "trace", "rm summary", "ls", "graph --format x"])
def test_a_mistake_of_use_has_a_code_of_its_own(books: MemoryBooks, capsys: Captured, line: str) -> None:
    assert books.call(*line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: main.py" in err


def test_help_says_of_each_verb_what_the_verb_says_of_itself() -> None:
    group = make_group(any_pipeline=True)
    context = click.Context(group)
    for verb, (_, sentence) in VERBS.items():
        command = group.get_command(context, verb)
        assert command is not None
        assert command.name == verb
        assert (command.help or "").split("\n")[0] == sentence


def test_every_reading_verb_takes_json() -> None:
    group = make_group(any_pipeline=True)
    context = click.Context(group)
    for verb in ("status", "trace", "why", "ls", "cat", "graph", "validate"):
        command = group.get_command(context, verb)
        assert command is not None
        assert any("--json" in param.opts for param in command.params)


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_fits_a_terminal(books: MemoryBooks, capsys: Captured, verb: str | None) -> None:
    assert books.call(*([verb] if verb else []), "--help") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    assert not [line for line in out.splitlines() if line.startswith("  ") and line.endswith("...")]


def test_the_door_is_sorted_and_everything_is_behind_it() -> None:
    assert pydatatask_cli.__all__ == sorted(pydatatask_cli.__all__)
    for name in pydatatask_cli.__all__:
        assert getattr(pydatatask_cli, name).__name__ == name
    assert set(pydatatask_cli.__all__) <= set(dir(pydatatask_cli))
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(pydatatask_cli, "nonsense")  # noqa: B009  # mypy would know


def test_an_empty_pipeline_is_no_mistake(capsys: Captured) -> None:
    from pydatatask_core import Pipeline, Session

    pipeline = Pipeline([], Session())
    assert call(pipeline, "run") == 0
    assert call(pipeline, "status") == 0
    assert call(pipeline, "validate") == 0
    assert capsys.readouterr().out == "0 tasks and 0 repositories: ready to run.\n"
