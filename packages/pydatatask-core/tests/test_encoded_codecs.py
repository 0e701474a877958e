"""What the codecs write reads back, here and in other programs; and what others wrote is read, or refused in words."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings, strategies as st
from pydatatask_core.errors import MalformedValueError
from pydatatask_core.repository.codec import JSON, Codec
from pydatatask_core.repository.value import plain
from pydatatask_core.repository.yaml import MAX_DEPTH, YAML
from pydatatask_core.testing import json_like, same

CODECS = pytest.mark.parametrize("codec", [YAML, JSON], ids=repr)

_odd_texts = st.text(
    st.sampled_from(
        " \t\n\r\x00\x07\x1b\x7f\x80\x85\x9f\xa0\u2028\u2029\ufeff\ufffe\uffff\U0001f600'\"\\#:-?,[{&*!|>%@`=<~.aN0"
    ),
    max_size=12,
)
_misleading = st.sampled_from(
    (
        *("yes", "No", "ON", "off", "true", "TRUE", "null", "Null", "~", "y", "N", ".nan", ".inf", "-.Inf"),
        *("<<", "=", "---", "...", "$date", "$$date", "$bytes", "$float", "$", "$$", "$x"),
        *("0o17", "0x1F", "0b1", "1_000", "1:30", "190:20:30.15", "1e5", "1.e5", "+.5"),
        *("2001-01-01", "2001-12-14t21:59:43.10-05:00"),
    )
) | st.from_regex(r"\A[-+.0-9_:eExoTZ ]{1,10}\Z")
_keys = st.text(max_size=8) | _odd_texts | _misleading | st.text("k", min_size=120, max_size=140)
_data = st.recursive(
    json_like() | _odd_texts | _misleading | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values are equal down to types, order of keys, signs of zero and numbers that are none."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return same(one, other)


@pytest.mark.slow
@CODECS
@settings(max_examples=200, deadline=None)
@given(data=_data)
@example(data={"$date": "x"})
@example(data={"$$date": {"$date": "x"}})
@example(data={"<<": {"a": 1}, "=": 2})
@example(data=[-0.0, math.inf, -math.inf, math.nan, 5e-324, 1e16])
def test_everything_that_may_be_stored_reads_back(codec: Codec, data: Any) -> None:
    data = plain(data, "job", "repo")
    raw = codec.encode(data)
    assert equal(codec.decode(raw), data), raw


@settings(max_examples=60, deadline=None)
@given(data=_data)
def test_other_yaml_readers_understand_what_we_write(data: Any) -> None:
    data = plain(data, "job", "repo")
    raw = YAML.encode(data)
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        assert equal(plain(yaml.load(raw, Loader=loader), "job", "repo"), data), raw


@settings(max_examples=60, deadline=None)
@given(data=_data)
def test_what_pyyaml_dumped_in_earlier_releases_is_read(data: Any) -> None:
    data = plain(data, "job", "repo")
    assert equal(YAML.decode(yaml.safe_dump(data, sort_keys=False).encode()), data)
    assert equal(YAML.decode(yaml.dump(data, Dumper=yaml.CSafeDumper, sort_keys=False).encode()), data)


@settings(max_examples=60, deadline=None)
@given(data=_data)
@example(data=[math.nan])
@example(data={"ratio": -math.inf})
def test_json_is_strict_json(data: Any) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(JSON.encode(plain(data, "job", "repo")).decode("utf-8"), parse_constant=refuse)


@given(text=st.from_regex(r"\A[-+]?(\.[0-9]{1,3}|[0-9]{1,3}(\.[0-9]{0,3})?)([eE][-+]?[0-9]{1,3})?\Z") | st.just("0o7"))
def test_texts_that_are_numbers_in_yaml_1_2_are_quoted(text: str) -> None:
    assert YAML.encode([text]) == f"- '{text}'\n".encode()


def test_yaml_is_written_for_people() -> None:
    record = {
        "result": "failure",
        "return_code": 1,
        "ratio": 1e20,
        "start_time": datetime(2024, 5, 1, 10, 0, 0, 123000, tzinfo=UTC),
        "host": "node-17.example.org",
        "image": None,
        "traceback": 'Traceback:\n  File "x.py", line 3\nValueError: caf\u00e9\n',
        "attempts": [{"cause": "exit", "notes": []}, {}],
        "output": b"\0\1",
    }
    assert YAML.encode(record).decode() == (
        "result: failure\n"
        "return_code: 1\n"
        "ratio: 1.0e+20\n"
        "start_time: 2024-05-01 10:00:00.123+00:00\n"
        "host: node-17.example.org\n"
        "image: null\n"
        "traceback: |\n"
        "  Traceback:\n"
        '    File "x.py", line 3\n'
        "  ValueError: caf\u00e9\n"
        "attempts:\n"
        "- cause: exit\n"
        "  notes: []\n"
        "- {}\n"
        "output: !!binary |\n"
        "  AAE=\n"
    )


def test_json_says_what_it_has_no_word_for_by_tagged_objects() -> None:
    data = {"when": datetime(2024, 5, 1, 10, tzinfo=UTC), "raw": b"hi", "ratio": math.nan, "user": {"$date": 1}}
    assert json.loads(JSON.encode(data)) == {
        "when": {"$date": "2024-05-01T10:00:00.000+00:00"},
        "raw": {"$bytes": "aGk="},
        "ratio": {"$float": "nan"},
        "user": {"$$date": 1},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("--- \n", None),
        ("a: 2020-01-02", {"a": datetime(2020, 1, 2, tzinfo=UTC)}),
        ("a: 2020-01-02 10:00:00", {"a": datetime(2020, 1, 2, 10, tzinfo=UTC)}),
        ("a: 2001-12-14t21:59:43.10-05:00", {"a": datetime(2001, 12, 15, 2, 59, 43, 100_000, tzinfo=UTC)}),
        ("a: 2001-12-14 21:59:43.1239 -5", {"a": datetime(2001, 12, 15, 2, 59, 43, 123_000, tzinfo=UTC)}),
        ("{base: &b {q: 1, r: 1}, c: {<<: *b, r: 2}}", {"base": {"q": 1, "r": 1}, "c": {"q": 1, "r": 2}}),
        ("[&a [1], *a]", [[1], [1]]),
        ("{a: =, b: <<}", {"a": "=", "b": "<<"}),
        (
            "{a: 0x1F, b: 017, c: 1_000, d: 1:30, e: yes, f: ~}",
            {"a": 31, "b": 15, "c": 1000, "d": 90, "e": True, "f": None},
        ),
        ("{a: !!str 5, b: '5', c: !!int '5'}", {"a": "5", "b": "5", "c": 5}),
        ("{1: one}", {1: "one"}),
        ("a: 1\na: 2", {"a": 2}),
    ],
)
def test_yaml_that_people_write_is_read(text: str, expected: Any) -> None:
    assert same(YAML.decode(text.encode()), expected)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"a: 1\nb: [", "line 3, column 1"),
        (b"a: \xff", "invalid leading UTF-8 octet at byte 3"),
        (b'a: "\x01"', "control characters are not allowed at byte 4"),
        (b"a: 1\nb: 2020-13-45", "found no valid timestamp in line 2, column 4"),
        (b"!!int x", "found no valid int in line 1"),
        (b"!!int ''", "found no valid int in line 1"),
        (b"!!bool maybe", "found no valid bool in line 1"),
        (b"!!timestamp x", "found no valid timestamp in line 1"),
        (b"!!python/object/apply:os.getpid []", "tag 'tag:yaml.org,2002:python/object/apply:os.getpid'"),
        (b"!!str {a: b}", "expected a scalar node"),
        (b"a: 1\n---\nb: 2", "another document in line 2"),
        (b"? [a]\n: b", "unhashable key in line 1, column 3"),
        (b"*x", "undefined alias in line 1"),
        (b"<<: 5", "for merging, but found scalar in line 1"),
        (b"&a [*a]", "contains itself"),
        (b"- " * 100_000, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_yaml_that_cannot_be_read_says_what_and_where(raw: bytes, problem: str) -> None:
    with pytest.raises(MalformedValueError) as caught:
        YAML.decode(raw)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'"caf\xe9"', "no UTF-8: invalid continuation byte at byte 4"),
        (b'{"$date": 5}', "the value of '$date' cannot be read"),
        (b'{"$date": "soon"}', "the value of '$date' cannot be read"),
        (b'{"$bytes": "***"}', "the value of '$bytes' cannot be read"),
        (b'{"$float": "1"}', "the value of '$float' cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_json_that_cannot_be_read_says_what_and_where(raw: bytes, problem: str) -> None:
    with pytest.raises(MalformedValueError) as caught:
        JSON.decode(raw)
    assert problem in str(caught.value)
    assert caught.value.__cause__ is not None


def test_json_of_others_is_read() -> None:
    assert JSON.decode(b'\xef\xbb\xbf{"$foo": 1, "b": NaN}')["$foo"] == 1
    assert JSON.decode(b'{"$foo": 1}') == {"$foo": 1}
    assert JSON.decode(b'{"$date": "2024-05-01T12:00:00+02:00"}') == datetime(2024, 5, 1, 10, tzinfo=UTC)


def test_aliases_cannot_make_a_small_text_large_work() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    found = YAML.decode("\n".join(lines).encode())
    assert len(found) == 60


def _nested(depth: int) -> Any:
    data: Any = 1
    for level in range(depth):
        data = [data] if level % 2 else {"a": data}
    return data


@CODECS
def test_what_is_nested_as_deep_as_allowed_reads_back(codec: Codec) -> None:
    assert codec.decode(codec.encode(_nested(MAX_DEPTH))) == _nested(MAX_DEPTH)


def test_yaml_beyond_the_depth_is_neither_written_nor_read() -> None:
    with pytest.raises(MalformedValueError, match="nested too deeply"):
        YAML.encode(_nested(MAX_DEPTH + 1))
    with pytest.raises(MalformedValueError, match="nested too deeply"):
        YAML.decode(b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1))


def test_json_beyond_the_stack_is_not_written() -> None:
    with pytest.raises(MalformedValueError, match="nested too deeply"):
        JSON.encode(_nested(100_000))


@CODECS
def test_a_codec_may_be_used_from_many_threads(codec: Codec) -> None:
    records = [{"n": n, "text": f"line {n}\n" * 3, "list": list(range(n))} for n in range(100)]
    with ThreadPoolExecutor(8) as threads:
        raws = list(threads.map(codec.encode, records * 5))
        assert list(threads.map(codec.decode, raws)) == records * 5
