"""The example of the specification, as its reader would run it: real books, a real endpoint, a process of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from bucket_server import BucketServer
from programs import DEADLINE, EXAMPLE, QUICKSTART, Ended, interrupt, run, started, wait_until

SPECIFIED = "666ca0f49a4ab51ba0d9c5815a11043ae6dde11040b9e35ab15be755a959d7a1"
"""The digest of the example as the specification gives it, with a line end after its last line."""

LATE = "it-came-late"


@pytest.fixture
def with_books(server: BucketServer, books: Mapping[str, str]) -> BucketServer:
    """A server whose bucket holds the books of the example."""
    server.put("books", {f"{job}.txt": text.encode() for job, text in books.items()})
    return server


@pytest.fixture(scope="module")
def first_run(
    server_of_session: BucketServer, books: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ended, Path]:
    """What became of a first run, and the folder where it was."""
    server_of_session.reset()
    server_of_session.put("books", {f"{job}.txt": text.encode() for job, text in books.items()})
    folder = tmp_path_factory.mktemp("first")
    return run_quickstart(server_of_session, folder), folder


@pytest.fixture
def summarised(first_run: tuple[Ended, Path], tmp_path: Path) -> Path:
    """A folder as the first run left it."""
    return Path(shutil.copytree(first_run[1], tmp_path / "summarised"))


def test_the_example_is_that_of_the_specification_to_the_letter() -> None:
    assert hashlib.sha256(QUICKSTART.read_bytes()).hexdigest() == SPECIFIED


def test_the_books_are_such_that_counts_can_be_compared(books: Mapping[str, str]) -> None:
    assert len(books) >= 5
    for job, text in books.items():
        assert text.isascii(), job
        assert text.replace("\n", "").isprintable(), job
        assert text.endswith("\n"), job


def test_each_book_has_its_report_with_the_counts_of_wc(
    first_run: tuple[Ended, Path], books: Mapping[str, str]
) -> None:
    ended, folder = first_run

    assert ended.code == 0, ended.err
    assert reports_in(folder) == {job: report_of(job, text) for job, text in books.items()}
    assert set(records_in(folder)) == set(books)
    assert {record["result"] for record in records_in(folder).values()} == {"success"}


def test_a_second_run_starts_nothing(with_books: BucketServer, summarised: Path) -> None:
    before = stamps(summarised)

    ended = run_quickstart(with_books, summarised)

    assert ended.code == 0, ended.err
    assert stamps(summarised) == before


def test_deleting_one_report_and_its_record_redoes_that_book_alone(
    with_books: BucketServer, books: Mapping[str, str], summarised: Path
) -> None:
    before = stamps(summarised)
    redone = {summarised / "reports" / "sonnets.txt", summarised / "results" / "sonnets.yaml"}
    for file in redone:
        file.unlink()

    ended = run_quickstart(with_books, summarised)

    assert ended.code == 0, ended.err
    after = stamps(summarised)
    assert {file for file in after if after[file] != before[file]} == redone
    assert reports_in(summarised)["sonnets"] == report_of("sonnets", books["sonnets"])


def test_a_book_added_while_it_runs_for_ever_is_summarised_without_a_restart(
    with_books: BucketServer, books: Mapping[str, str], tmp_path: Path
) -> None:
    environment = with_books.environment()
    with started(QUICKSTART, "run", "--forever", cwd=tmp_path, env=environment) as controller:
        wait_until(lambda: set(records_in(tmp_path)) == set(books), "the books were summarised", controller)
        before = stamps(tmp_path)

        with_books.put("books", {f"{LATE}.txt": b"A late book.\n\nThe end.\n"})
        wait_until(lambda: LATE in records_in(tmp_path), "the late book was summarised", controller)

        assert interrupt(controller) == 130
    assert reports_in(tmp_path)[LATE] == report_of(LATE, "A late book.\n\nThe end.\n")
    after = stamps(tmp_path)
    assert {file: after[file] for file in before} == before


def test_an_endpoint_where_nothing_answers_is_told_as_that(tmp_path: Path) -> None:
    # A port of the loopback interface on which nobody can listen.
    environment = {"BUCKET_ENDPOINT": "http://127.0.0.1:1", "BUCKET_USERNAME": "user", "BUCKET_PASSWORD": "pa55word"}

    ended = run(QUICKSTART, "run", cwd=tmp_path, env={**environment, "AWS_MAX_ATTEMPTS": "1"})

    assert_unreachable(ended, "http://127.0.0.1:1", "endpoint does not answer", "endpoint_url")
    assert "pa55word" not in ended.out + ended.err


def test_wrong_credentials_are_told_as_that(strict_server: BucketServer, tmp_path: Path) -> None:
    wrong = {**strict_server.environment(), "BUCKET_PASSWORD": "pa55word"}

    ended = run(QUICKSTART, "run", cwd=tmp_path, env=wrong)

    assert_unreachable(ended, strict_server.url, "refuses the credentials", "secret access key")
    assert "pa55word" not in ended.out + ended.err


def test_a_bucket_of_somebody_else_is_told_as_that(strict_server: BucketServer, tmp_path: Path) -> None:
    ended = run(QUICKSTART, "run", cwd=tmp_path, env=strict_server.environment("stranger"))

    assert_unreachable(ended, strict_server.url, "does not permit", "somebody else's")


def test_the_owner_of_the_bucket_may_use_it(strict_server: BucketServer, tmp_path: Path) -> None:
    ended = run_quickstart(strict_server, tmp_path)

    assert ended.code == 0, ended.err


def test_the_script_beside_it_does_everything(books: Mapping[str, str], tmp_path: Path) -> None:
    ended = run(EXAMPLE / "run.py", "--output", str(tmp_path / "here"), cwd=tmp_path)

    assert ended.code == 0, ended.err
    assert reports_in(tmp_path / "here") == {job: report_of(job, text) for job, text in books.items()}
    for report in reports_in(tmp_path / "here").values():
        assert report in ended.out
    assert "main.py status" in ended.out


def test_the_script_uses_the_server_of_the_environment_and_overwrites_nothing(
    server: BucketServer, books: Mapping[str, str], tmp_path: Path
) -> None:
    server.put("books", {"sonnets.txt": b"mine\n"})

    ended = run(EXAMPLE / "run.py", "--output", ".", cwd=tmp_path, env=server.environment())

    assert ended.code == 0, ended.err
    assert reports_in(tmp_path)["sonnets"] == report_of("sonnets", "mine\n")
    assert server.keys("books") == {f"{job}.txt" for job in books}
    assert server.users["owner"].secret not in ended.out + ended.err


def test_the_script_refuses_half_of_a_server(server: BucketServer, tmp_path: Path) -> None:
    half = server.environment()
    half.pop("BUCKET_PASSWORD")

    ended = run(EXAMPLE / "run.py", cwd=tmp_path, env=half)

    assert ended.code == 2
    assert "Set BUCKET_PASSWORD too" in ended.err


def test_the_script_passes_on_that_its_server_is_unreachable(tmp_path: Path) -> None:
    environment = {"BUCKET_ENDPOINT": "http://127.0.0.1:1", "BUCKET_USERNAME": "user", "BUCKET_PASSWORD": "pa55word"}

    ended = run(EXAMPLE / "run.py", cwd=tmp_path, env={**environment, "AWS_MAX_ATTEMPTS": "1", "TMPDIR": str(tmp_path)})

    assert ended.code == 4
    assert "endpoint does not answer" in ended.err


def run_quickstart(server: BucketServer, folder: Path) -> Ended:
    return run(QUICKSTART, "run", cwd=folder, env=server.environment())


def assert_unreachable(ended: Ended, *told: str) -> None:
    """The exit code says that a store is unreachable, and the message says what is wrong and what to do."""
    assert ended.code == 4, ended.err
    for words in told:
        assert words in ended.err
    assert "Traceback" not in ended.err


def report_of(job: str, text: str) -> str:
    """Give a book's report as ``wc`` counts."""
    counted = subprocess.run(["wc", "-lwm"], input=text, capture_output=True, text=True, check=True, timeout=DEADLINE)
    lines, words, characters = map(int, counted.stdout.split())
    blank = sum(not line.strip() for line in text.split("\n")[:-1])
    # wc counts line ends as characters, and the example does not.
    return (
        f'The book "{job}" has {blank} paragraphs, {lines} lines, {words} words, and {characters - lines} characters.\n'
    )


def reports_in(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in folder.glob("reports/*.txt")}


def records_in(folder: Path) -> dict[str, dict[str, object]]:
    return {file.stem: yaml.safe_load(file.read_text()) for file in folder.glob("results/*.yaml")}


def stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """Tell when each report and record was written, and which file it is."""
    files = [*folder.glob("reports/*"), *folder.glob("results/*")]
    assert files
    return {file: (os.stat(file).st_mtime_ns, os.stat(file).st_ino) for file in files}
