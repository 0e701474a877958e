"""``summary`` and ``index`` over files, as a script that calls ``main``."""

import os
from pathlib import Path

import pydatatask_cli
from cli_books import Books
from cli_stores import Files, YamlFiles

FOLDER = Path(os.environ["PIPELINE_FOLDER"])
names = iter(["texts", "reports", "words"])
records = iter(["done", "index-done"])

pipeline = Books(lambda: Files(FOLDER / next(names)), lambda: YamlFiles(FOLDER / next(records))).pipeline

if __name__ == "__main__":
    pydatatask_cli.main(pipeline)
