"""Runs the example from nothing: finds or starts an S3 server, uploads the books, runs the pipeline, shows the reports.

Each step is told with the command that does it, so that it can be done by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiobotocore.session  # type: ignore[import-untyped]  # it has no type information
import pydatatask

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

HERE = Path(__file__).resolve().parent
MAIN = HERE / "main.py"
TEXTS = sorted(HERE.glob("books/*.txt"))
VARIABLES = ("BUCKET_ENDPOINT", "BUCKET_USERNAME", "BUCKET_PASSWORD")

USAGE_ERROR = 2
STORE_UNREACHABLE = 4
INTERRUPTED = 130


def main() -> int:
    """Run the example and give the exit code: that of the first command that failed."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None,
        epilog=f"With {', '.join(VARIABLES)} set, that server is used instead of one of our own.",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where reports/ and results/ are made (default: a new folder)"
    )
    output: Path | None = parser.parse_args().output

    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if 0 < len(missing) < len(VARIABLES):
        return fail(f"Set {' and '.join(missing)} too, or none of {', '.join(VARIABLES)}.", USAGE_ERROR)
    if output is None:
        output = Path(tempfile.mkdtemp(prefix="pydatatask-quickstart-"))
    output.mkdir(parents=True, exist_ok=True)
    with own_server() if missing else given_server():
        return upload_and_run(output.resolve())


def upload_and_run(output: Path) -> int:
    """Do all that needs the server. Gives the exit code."""
    say(f'Uploading {len(TEXTS)} books from {HERE / "books"} into the bucket "books"')
    try:
        asyncio.run(upload())
    except pydatatask.StoreUnavailableError as error:
        return fail(str(error), STORE_UNREACHABLE)

    say("Running the pipeline")
    tell(f"cd {shlex.quote(str(output))}")
    code = command(output, "run")
    say("Asking how many jobs each repository holds now")
    code = command(output, "status") or code

    reports = sorted(output.glob("reports/*.txt"))
    say(f"{len(reports)} reports")
    tell("cat reports/*.txt")
    for report in reports:
        sys.stdout.write(report.read_text())
    say(f"Reports and results stay in {output}")
    return code


@contextmanager
def given_server() -> Iterator[None]:
    """Use the server that the environment names."""
    say(f"Using the S3 server at {os.environ['BUCKET_ENDPOINT']}")
    yield


@contextmanager
def own_server() -> Iterator[None]:
    """Run an S3 server in this process, which forgets everything at the end, and name it in the environment."""
    from moto.server import ThreadedMotoServer

    # It would tell of every request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = (f"http://{host}:{port}", "quickstart", "quickstart")
    os.environ.update(zip(VARIABLES, values, strict=True))
    isolate(host)
    say("An S3 server runs in this process, until the end of this script")
    tell(f"export {' '.join(f'{name}={os.environ[name]}' for name in VARIABLES)}")
    try:
        yield
    finally:
        server.stop()


def isolate(host: str) -> None:
    """Keep what this machine's user set up for AWS, and a proxy, from standing between us and our own server."""
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    os.environ.pop("AWS_PROFILE", None)
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{direct},{host}" if direct else host


async def upload() -> None:
    """Put the books into the bucket, through the same classes that the pipeline uses.

    A book that is there already is left as it is.

    :raises StoreUnavailableError: if the server cannot be used.
    """
    session = pydatatask.Session()

    @session.resource
    async def bucket() -> AsyncGenerator[S3Client, None]:
        endpoint, username, password = (os.environ[name] for name in VARIABLES)
        async with aiobotocore.session.get_session().create_client(
            "s3", endpoint_url=endpoint, aws_access_key_id=username, aws_secret_access_key=password
        ) as client:
            yield client

    books = pydatatask.S3BucketRepository(bucket, "books/", ".txt", mimetype="text/plain")
    async with session:
        await books.validate()  # makes the bucket if it is missing
        for text in TEXTS:
            if await books.contains(text.stem):
                sys.stdout.write(f"{text.stem} is there already\n")
                continue
            async with await books.open(text.stem, "wb") as file:
                await file.write(text.read_bytes())
            sys.stdout.write(f"{text.stem}: {text.stat().st_size} bytes\n")


def command(folder: Path, verb: str) -> int:
    """Run a verb of the pipeline as a user would, and give its exit code."""
    words = [sys.executable, str(MAIN), verb]
    tell(shlex.join(words))
    code = subprocess.run(words, cwd=folder, check=False).returncode
    return fail(f"{verb} ended with exit code {code}.", code) if code else 0


def say(step: str) -> None:
    """Tell what happens next."""
    sys.stdout.write(f"\n== {step}\n")
    sys.stdout.flush()


def tell(line: str) -> None:
    """Show a command."""
    sys.stdout.write(f"$ {line}\n")
    sys.stdout.flush()


def fail(message: str, code: int) -> int:
    """Tell what went wrong, and give the exit code."""
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
