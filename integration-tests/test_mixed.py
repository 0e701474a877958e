"""A pipeline over several members at once: blobs of S3 in, containers in the middle, documents of MongoDB out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket_server import BucketServer
from docker_engine import Engine, engine_of_a_fresh_app
from programs import pipeline_file, run, wait_until
from pydatatask_core.testing.services import service_setting
from pymongo import MongoClient
from pymongo.database import Database

TEXTS = {"short": b"one two\n", "empty": b"", "long": b"word " * 300_000, "broken": b"what it says does not matter"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with engine_of_a_fresh_app() as found:
        yield found


@pytest.fixture
def database() -> Iterator[Database[dict[str, Any]]]:
    url = service_setting("PYDATATASK_TEST_MONGO_URL", "the URL of a MongoDB server on which databases may be made")
    with MongoClient[dict[str, Any]](url) as client:
        found = client[f"pydatatask-mixed-{os.getpid()}"]
        yield found
        client.drop_database(found.name)


@pytest.mark.slow
def test_from_a_bucket_through_containers_into_documents(
    tmp_path: Path, server: BucketServer, engine: Engine, database: Database[dict[str, Any]]
) -> None:
    server.put("lake", {f"texts/{job}.txt": text for job, text in TEXTS.items()})
    environment = {
        **server.environment(),
        **engine.environment(),
        "MONGO_URL": os.environ["PYDATATASK_TEST_MONGO_URL"],
        "MONGO_DATABASE": database.name,
    }

    first = run(pipeline_file("mixed"), "run", cwd=tmp_path, env=environment)
    again = run(pipeline_file("mixed"), "run", cwd=tmp_path, env=environment)

    # A container failed, and that is told each time somebody asks for it to be run, if it is.
    assert first.code == 1, first.err
    assert again.code == 0, again.err
    assert {found["_id"]: found["words"] for found in database["words"].find()} == {
        "short": 2,
        "empty": 0,
        "long": 300_000,
    }
    counted = {found["_id"]: found for found in database["counted"].find()}
    assert {job: record["result"] for job, record in counted.items()} == {
        "short": "success",
        "empty": "success",
        "long": "success",
        "broken": "failure",
    }
    assert counted["broken"]["return_code"] == 1
    assert {found["_id"] for found in database["kept"].find()} == {"short", "empty", "long"}
    assert server.get("lake", "counts/long.txt").split() == [b"300000"]
    wait_until(lambda: len(engine.begun) >= len(TEXTS), "the engine told of all")
    assert sorted(engine.begun) == sorted(TEXTS)
    assert engine.containers() == []
