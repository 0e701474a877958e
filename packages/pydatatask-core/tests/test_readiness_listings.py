"""What a listing may add and remove while the store changes, and when events were lost."""

from __future__ import annotations

from readiness_chain import Trial, chain, leaf


def test_a_key_that_was_not_announced_is_found() -> None:
    trial = Trial(leaf(0), s0="a")
    assert trial.list(0, "ab") == []
    assert trial.ready() == "ab"
    assert trial.count(0) == 2


def test_a_key_that_vanished_unannounced_is_in_doubt_and_stays_until_that_is_told() -> None:
    trial = Trial(leaf(0), s0="abc")
    assert trial.list(0, "b") == ["a", "c"]
    assert trial.ready() == "abc"
    trial.remove(0, "a")
    assert trial.ready() == "bc"


def test_a_key_announced_since_the_listing_began_is_in_no_doubt() -> None:
    trial = Trial(leaf(0), s0="ab")
    trial.begin(0)
    trial.add(0, "a", "c")
    trial.found(0, "b")
    assert trial.end(0) == []
    assert trial.ready() == "abc"


def test_a_page_that_is_older_than_a_removal_does_not_bring_the_key_back() -> None:
    trial = Trial(leaf(0), s0="ab")
    trial.begin(0)
    trial.remove(0, "a")
    trial.found(0, "ab")
    assert trial.ready() == "b"
    assert trial.end(0) == ["a"]
    trial.add(0, "a")
    assert trial.ready() == "ab"


def test_a_first_listing_is_as_careful() -> None:
    trial = Trial(leaf(0), unlisted=[0])
    trial.begin(0)
    trial.remove(0, "a")
    trial.add(0, "b")
    trial.remove(0, "b")
    trial.add(0, "c")
    trial.found(0, "abcd")
    assert trial.end(0) == ["a", "b"]
    assert trial.ready() == "cd"


def test_a_doubt_ends_when_the_key_is_announced_either_way() -> None:
    trial = Trial(leaf(0), s0="ab")
    trial.begin(0)
    trial.remove(0, "a", "b")
    trial.found(0, "ab")
    trial.add(0, "a")
    trial.remove(0, "b")
    assert trial.end(0) == []
    assert trial.ready() == "a"


def test_a_key_that_is_removed_after_it_was_found_does_not_hide_one_that_vanished() -> None:
    trial = Trial(leaf(0), s0="abc")
    trial.begin(0)
    trial.found(0, "ab")
    trial.remove(0, "b")
    assert trial.end(0) == ["c"]


def test_keys_that_were_found_too_late_and_keys_that_vanished_are_in_doubt_together() -> None:
    trial = Trial(leaf(0), s0="abc")
    trial.begin(0)
    trial.remove(0, "a")
    trial.found(0, "ab")
    assert trial.end(0) == ["a", "c"]


def test_after_lost_events_a_listing_that_begins_again_forgets_what_the_one_under_way_found() -> None:
    trial = Trial(leaf(0), s0="ab")
    trial.begin(0)
    trial.found(0, "ab")
    trial.begin(0)
    trial.found(0, "b")
    assert trial.end(0) == ["a"]


def test_what_a_first_listing_found_before_events_were_lost_is_checked_by_the_next() -> None:
    trial = Trial(leaf(0), unlisted=[0])
    trial.begin(0)
    trial.found(0, "ab")
    trial.begin(0)
    trial.found(0, "b")
    assert trial.end(0) == ["a"]


def test_a_listing_asks_nothing_again_of_keys_that_are_known() -> None:
    trial = Trial(*chain(2), s0="a", s1="a")
    trial.answer(q1a=True)
    trial.queued(1)
    trial.list(1, "a")
    assert trial.asked() == ""
    assert trial.ready(1) == "a"
    assert trial.queued(1) == ""


def test_what_a_later_listing_finds_is_queued_and_asked_for() -> None:
    trial = Trial(*chain(2), s0="a")
    trial.list(1, "a")
    assert trial.asked() == "1a"
    trial.list(0, "ab")
    assert trial.queued(0) == "ab"


def test_pages_may_be_any_iterable() -> None:
    trial = Trial(leaf(0), s0="a")
    trial.begin(0)
    trial.remove(0, "a")
    trial.found(0, (job for job in "ab"))
    assert trial.end(0) == ["a"]
    assert trial.ready() == "b"
