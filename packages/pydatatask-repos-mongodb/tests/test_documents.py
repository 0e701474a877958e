"""What a value is as a document: plain fields that others can query, and every value comes back equal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, DBRef, Int64, ObjectId, decode, encode
from bson.datetime_ms import DatetimeMS
from hypothesis import given, settings, strategies as st
from mongo import RawCollection
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.repository.changes import ChangeSource
from pydatatask_core.testing import same
from pydatatask_repos_mongodb import MongoMetadataRepository
from pydatatask_repos_mongodb.document import from_document, to_document

MARK = "\uff04"
MOMENT = datetime(2024, 5, 1, 10, 0, 0, 250_000, tzinfo=UTC)

parts = st.sampled_from(["$", MARK, "%", "0", "\0", ".", "_id", "value", "a"])
awkward = st.lists(parts, max_size=5).map("".join) | st.sampled_from(
    ["_id", "value", "$ref", "$id", "$db", f"{MARK}value", f"{MARK}{MARK}value", f"{MARK}_id", f"{MARK}%a%00"]
)
values = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(awkward, inner, max_size=4),
    max_leaves=12,
)


def legal(document: Any, top: bool = True) -> bool:
    """Tell whether every server takes a document's keys, and no driver reads them as something else."""
    if isinstance(document, dict):
        return all(
            "\0" not in key and not key.startswith("$") and legal(value, False)
            for key, value in document.items()
            if not (top and key == "_id")
        )
    return all(legal(item, False) for item in document) if isinstance(document, list) else True


@settings(max_examples=500, deadline=None)
@given(values)
def test_every_value_is_a_legal_document_and_comes_back(data: Any) -> None:
    document = to_document("job", data)
    assert document["_id"] == "job"
    assert legal(document)
    assert same(from_document(document), data)


def test_plain_keys_are_fields_as_they_stand() -> None:
    data = {"a": 1, "a.b": {"c.d": [1, {"": 2}]}, "value": 1, "price$": 2, "nested": {"_id": 3}}
    assert to_document("job", data) == {"_id": "job", **data}


def test_awkward_keys_are_marked() -> None:
    document = to_document("job", {"$set": {"$ref": 1}, "_id": 2, "a\0%": 3})
    assert document == {"_id": "job", f"{MARK}$set": {f"{MARK}$ref": 1}, f"{MARK}_id": 2, f"{MARK}%a%00%25": 3}


def test_a_value_that_is_no_mapping_is_a_field() -> None:
    assert to_document("job", [1]) == {"_id": "job", f"{MARK}value": [1]}


async def test_values_are_stored_in_the_servers_own_types(repo: MongoMetadataRepository, raw: RawCollection) -> None:
    await repo.dump("job", {"when": MOMENT, "bytes": b"\x00\xff", "long": 2**40, "real": 1.0, "deep": [{"x": None}]})
    assert await raw.find_one({"when": {"$type": "date"}, "bytes": {"$type": "binData"}, "long": {"$type": "long"}})
    assert await raw.find_one({"when": {"$lt": datetime(2025, 1, 1, tzinfo=UTC)}, "deep.x": None})


@pytest.mark.parametrize("data", [[1, 2], "text", 7, 2**62, None, True, 1.5, b"bytes", MOMENT, [], {}], ids=repr)
async def test_what_is_no_mapping_comes_back_as_it_was(repo: MongoMetadataRepository, data: Any) -> None:
    await repo.dump("job", data)
    assert same(await repo.info("job"), data)
    assert same(await repo.info_all(), {"job": data})


async def test_awkward_keys_come_back_from_the_server(repo: MongoMetadataRepository) -> None:
    data = {"$set": {"$ref": "a", "$id": 1}, "a.b": {"": 1, "c.": 2}, "_id": "mine", "a\0b": [{"$x": {"_id": 1}}]}
    await repo.dump("job", data)
    assert same(await repo.info("job"), data)
    await repo.dump("job", {"$inc": 1})
    assert same(await repo.info("job"), {"$inc": 1})
    assert await repo.create("other", {"$first": {"$second": 1}})
    assert same(await repo.info("other"), {"$first": {"$second": 1}})


async def test_no_id_is_added_to_data_that_has_none(repo: MongoMetadataRepository) -> None:
    data: dict[str, Any] = {"a": 1}
    await repo.dump("job", data)
    await repo.create("new", data)
    assert data == {"a": 1}
    assert await repo.info_all() == {"job": {"a": 1}, "new": {"a": 1}}


async def test_documents_of_others_are_read_as_they_are(repo: MongoMetadataRepository, raw: RawCollection) -> None:
    stored: dict[str, Any] = {
        "when": MOMENT,
        "long": Int64(5),
        "uuid": Binary(b"0" * 16, 4),
        f"{MARK}price": 1,
        "n": {"_id": 1},
    }
    await raw.insert_one({"_id": "job", **stored})
    expected = {"when": MOMENT, "long": 5, "uuid": b"0" * 16, f"{MARK}price": 1, "n": {"_id": 1}}
    assert same(await repo.info("job"), expected)


@pytest.mark.parametrize("foreign", [ObjectId(), DBRef("a", 1)], ids=["an ObjectId", "a reference"])
async def test_what_is_no_plain_data_is_a_malformed_value(
    repo: MongoMetadataRepository, raw: RawCollection, foreign: object
) -> None:
    await raw.insert_one({"_id": "job", "deep": [{"x": foreign}]})
    with pytest.raises(MalformedValueError, match=type(foreign).__name__):
        await repo.info("job")
    with pytest.raises(MalformedValueError, match="'job'"):
        await repo.info_all()
    assert [job async for job in repo] == ["job"]


async def test_a_date_that_python_cannot_hold_breaks_its_own_document_alone(repo: MongoMetadataRepository) -> None:
    # Read by the options that the collection is read with; the server would have to hold such a date to give it.
    options = repo._store.collection.codec_options  # type: ignore[attr-defined]  # no verb of the repository needs it
    document = decode(encode({"_id": "bad", "when": DatetimeMS(2**60), "now": MOMENT}), options)
    assert document["now"] == MOMENT
    with pytest.raises(TypeError, match="DatetimeMS"):
        from_document(document)


async def listing(repo: MongoMetadataRepository) -> list[str]:
    return [job async for job in repo]


async def values_of_all(repo: MongoMetadataRepository) -> list[str]:
    return list(await repo.info_all())


async def versions(repo: MongoMetadataRepository) -> list[str]:
    return [pair[0] async for page in repo.versions() for pair in page]


@pytest.mark.parametrize("verb", [listing, values_of_all, versions])
async def test_keys_that_are_no_jobs_are_skipped_with_a_warning(
    repo: MongoMetadataRepository,
    raw: RawCollection,
    caplog: pytest.LogCaptureFixture,
    verb: Callable[[MongoMetadataRepository], Coroutine[Any, Any, list[str]]],
) -> None:
    await raw.insert_many([{"_id": ObjectId()}, {"_id": 5}, {"_id": "a\nb"}, {"_id": "job"}])
    with caplog.at_level(logging.WARNING, "pydatatask.repository"):
        assert await verb(repo) == ["job"]
    assert "skipped 3 stored keys" in caplog.text
    assert not await repo.contains("5")


async def test_until_it_is_validated_a_repository_is_polled(repo: MongoMetadataRepository) -> None:
    sources = [repo.change_source]
    await repo.validate()
    sources.append(repo.change_source)
    assert sources == [ChangeSource.POLLED, ChangeSource.WATCHED]


def test_a_subcollection_names_a_collection_of_a_database() -> None:
    def library() -> Any:
        raise AssertionError("nothing is asked for before it is used")

    repo = MongoMetadataRepository(library, "books")
    assert repo.location.startswith("mongodb:")
    assert "library" in repo.location
    assert repo.location.endswith("/books")
    assert repo.location == MongoMetadataRepository(library, "books").location
    assert repo.location != MongoMetadataRepository(library).location
    assert repo.resources == {library}
