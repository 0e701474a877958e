"""What a job id and a name are, checked against rules that share no code with the implementation."""

from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import example, given, strategies as st
from pydatatask_core.errors import JobIdError, PydatataskError
from pydatatask_core.job import are_valid_job_ids, check_job, is_valid_job_id, is_valid_name
from pydatatask_core.repository.memory import InProcessMetadataRepository

ENDS = set(string.ascii_letters + string.digits)


def legal(text: str, inner: str) -> bool:
    if not 1 <= len(text) <= 63 or text[0] not in ENDS or text[-1] not in ENDS:
        return False
    return all(character in ENDS or character in inner for character in text)


near_ids = st.text(st.sampled_from("aZ09._-/ \n\u00e9\u0663\u212a\uff21\0"), max_size=6) | st.builds(
    lambda start, fill, end: start + fill * (63 - len(start + end)) + end,
    st.text("aZ0._-", max_size=2),
    st.sampled_from("aZ0._-"),
    st.text("aZ0._-\n", max_size=3),
)


@given(near_ids | st.text())
@example("a" * 63)
@example("a" * 64)
@example("a\n")
def test_a_job_id_is_what_the_design_says(text: str) -> None:
    assert is_valid_job_id(text) == legal(text, "._-")
    assert InProcessMetadataRepository.is_valid_job_id(text) == legal(text, "._-")


@given(st.lists(near_ids | st.from_regex(r"[aZ0._-]{1,3}", fullmatch=True), max_size=5))
@example(["a\nb"])
@example(["a", "b\n", "c"])
@example(["a", ""])
@example([])
def test_many_are_asked_for_as_one_by_one(texts: list[str]) -> None:
    assert are_valid_job_ids(texts) == all(legal(text, "._-") for text in texts)


@given(near_ids | st.text())
def test_a_name_is_a_job_id_without_dots(text: str) -> None:
    assert is_valid_name(text) == legal(text, "_-")


@given(near_ids | st.text())
def test_check_job_gives_valid_ids_back_and_refuses_all_others(text: str) -> None:
    if legal(text, "._-"):
        assert check_job(text) is text
    else:
        with pytest.raises(JobIdError):
            check_job(text)


@pytest.mark.parametrize("thing", [None, 7, b"job", ["job"], object()])
def test_what_is_no_string_is_no_job_id(thing: object) -> None:
    with pytest.raises(JobIdError):
        check_job(thing)


def test_the_error_is_a_key_error_that_says_what_to_do() -> None:
    with pytest.raises(KeyError) as caught:
        check_job("not/this")
    assert isinstance(caught.value, PydatataskError)
    assert str(caught.value).startswith("'not/this' is no valid job id. Use 1 to 63 letters")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
