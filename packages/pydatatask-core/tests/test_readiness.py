"""What is ready, what is asked of filters and translators, and when."""

from __future__ import annotations

from collections import deque

import pytest
from pydatatask_core.pipeline.readiness import Readiness
from pydatatask_core.repository.expression import And, Filtered, Minus, Or, Related
from readiness_chain import Trial, chain, gate, leaf, translation
from readiness_oracle import Accepts, Store

WAITING_FOR_ALL = Minus(And((leaf(0), leaf(1))), Or((leaf(2), leaf(3))))


class TestReady:
    def test_a_job_is_ready_that_is_in_every_required_store_and_in_no_inhibiting_one(self) -> None:
        trial = Trial(WAITING_FOR_ALL, s0="abcd", s1="bcdx", s2="c", s3="d")
        assert trial.ready() == "b"
        trial.add(1, "a")
        trial.remove(2, "c")
        trial.remove(0, "b")
        assert trial.ready() == "ac"

    def test_without_children_an_and_holds_nothing_and_so_does_an_or(self) -> None:
        trial = Trial(And(()), Or(()), Minus(leaf(0), Or(())), Minus(leaf(0), And(())), s0="a")
        assert [trial.ready(task) for task in range(4)] == ["", "", "a", "a"]

    def test_a_job_is_queued_each_time_it_becomes_ready_and_not_while_it_stays_so(self) -> None:
        trial = Trial(Minus(leaf(0), leaf(1)), leaf(2))
        trial.add(0, "a")
        trial.add(0, "a")
        trial.add(2, "a")
        trial.remove(1, "a")
        assert trial.queued() == "a"
        trial.add(1, "a")
        trial.remove(1, "a")
        assert trial.queued() == "a"

    def test_nothing_is_queued_before_the_first_rescan_and_everything_ready_by_each(self) -> None:
        queue = deque[str]()
        readiness = Readiness({"task": leaf(0)}, [queue])
        readiness.added(0, "a")
        readiness.begin_listing(0)
        readiness.listed(0, "b")
        readiness.end_listing(0)
        assert not queue
        for _ in range(2):
            readiness.rescan()
            assert list(queue) == ["a", "b"]

    def test_a_job_whose_run_ended_is_queued_again_only_if_it_is_still_ready(self) -> None:
        trial = Trial(Minus(leaf(0), leaf(1)), s0="ab")
        trial.queued()
        trial.add(1, "a")
        trial.readiness.recheck(0, "a")
        trial.readiness.recheck(0, "b")
        assert trial.queued() == "b"

    def test_keys_and_ready_jobs_are_counted(self) -> None:
        trial = Trial(leaf(0), Minus(leaf(0), leaf(1)), s0="abc", s1="c")
        trial.remove(0, "a", "a", "x")
        trial.add(1, "b", "b")
        assert [trial.count(0), trial.count(1)] == [2, 2]
        assert trial.readiness.ready_counts() == [2, 0]
        assert trial.readiness.holds(0, "b")
        assert not trial.readiness.holds(0, "a")

    def test_two_leaves_of_one_location_are_one_store(self) -> None:
        trial = Trial(leaf(0), Minus(leaf(1), leaf(0)))
        assert len(trial.readiness.leaves) == 2
        assert trial.readiness.compiled.leaf_number(Store(1).location) == 1
        assert trial.readiness.compiled.leaf_number("nowhere") is None


class TestUnlisted:
    def test_a_store_that_was_not_listed_freezes_jobs_and_does_not_look_empty(self) -> None:
        trial = Trial(Minus(leaf(0), leaf(1)), s0="ab", unlisted=[1])
        assert trial.ready() == ""
        trial.remove(1, "a")
        assert trial.ready() == ""
        assert trial.list(1, "b") == []
        assert trial.ready() == trial.queued() == "a"

    def test_what_an_unlisted_store_cannot_change_is_decided(self) -> None:
        trial = Trial(Or((leaf(0), leaf(1))), leaf(1), s0="a", unlisted=[1])
        trial.add(1, "b")
        assert trial.ready() == "ab"
        assert trial.ready(1) == "b"

    def test_jobs_stay_ready_while_a_store_is_listed_again(self) -> None:
        trial = Trial(Minus(leaf(0), leaf(1)), s0="a")
        trial.begin(0)
        trial.begin(1)
        assert trial.ready() == "a"


class TestGates:
    """Filters over the keys of done stores."""

    def test_a_gate_is_asked_only_of_jobs_that_are_ready_otherwise(self) -> None:
        trial = Trial(*chain(2), s0="abc", s1="bcx", s2="c")
        assert trial.asked() == "1b"

    def test_a_gate_that_does_not_matter_any_more_is_not_asked_and_is_when_it_does_again(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        trial.add(2, "a")
        assert trial.asked() == ""
        trial.remove(2, "a")
        assert trial.asked() == "1a"

    def test_a_gate_is_not_asked_while_an_unlisted_store_stands_in_the_way(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a", unlisted=[2])
        assert trial.asked() == ""
        trial.list(2, "")
        assert trial.asked() == "1a"

    @pytest.mark.parametrize(
        "rule",
        [
            Or((leaf(0), gate(1))),
            Minus(leaf(1), And((leaf(0), gate(1)))),
            Minus(leaf(1), Filtered(And((leaf(0), gate(1))), Accepts(2))),
        ],
    )
    def test_a_gate_is_asked_in_spite_of_an_unlisted_store_if_it_alone_can_decide(self, rule: Or | Minus) -> None:
        trial = Trial(rule, s1="a", unlisted=[0])
        assert trial.asked() == "1a"
        trial.answer(q1a=isinstance(rule, Or))
        assert trial.ready() == "a"

    def test_an_answer_is_kept_until_the_key_changes(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        trial.answer(q1a=True)
        assert trial.ready(1) == trial.queued(1) == "a"
        trial.add(2, "a")
        trial.remove(2, "a")
        trial.add(0, "a")
        assert trial.asked() == ""
        assert trial.ready(1) == trial.queued(1) == "a"
        trial.add(1, "a")
        assert trial.ready(1) == ""
        trial.answer(q1a=False)
        assert trial.ready(1) == trial.queued(1) == ""

    def test_a_filter_is_asked_again_when_its_base_lost_the_job_and_got_it_back(self) -> None:
        trial = Trial(Filtered(Minus(leaf(0), leaf(1)), Accepts(7)), s0="a")
        trial.answer(q7a=True)
        trial.add(1, "a")
        trial.remove(1, "a")
        assert trial.ready() == ""
        assert trial.asked() == "7a"

    def test_an_answer_is_forgotten_when_the_key_goes(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        trial.answer(q1a=True)
        trial.remove(1, "a")
        trial.add(1, "a")
        assert trial.ready(1) == ""
        assert trial.asked() == "1a"

    def test_an_answer_that_may_be_older_than_the_key_is_asked_for_again(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.add(1, "a")
        assert trial.take() == {}  # one at a time
        trial.readiness.answer(question, True)
        assert trial.ready(1) == ""
        trial.answer(q1a=False)
        assert trial.asked() == ""

    def test_telling_an_answer_spares_the_question(self) -> None:
        trial = Trial(*chain(2), s0="ab")
        trial.add(1, "a", "b")
        trial.readiness.tell(trial.ask_of(1), "a", True)
        trial.readiness.tell(trial.ask_of(1), "b", False)
        assert trial.asked() == ""
        assert trial.ready(1) == trial.queued(1) == "a"

    def test_a_verdict_that_is_expected_comes_with_its_key_and_nothing_is_asked(self) -> None:
        trial = Trial(*chain(2), s0="abc")
        trial.readiness.expect(trial.ask_of(1), "a", True)
        trial.readiness.expect(trial.ask_of(1), "b", False)
        assert trial.queued(1) == ""
        trial.add(1, "a", "b", "c")
        assert trial.queued(1) == trial.ready(1) == "a"
        assert [question.job for question in trial.readiness.questions] == ["c"]

    def test_a_verdict_is_expected_of_the_next_value_alone(self) -> None:
        trial = Trial(*chain(2), s0="ab")
        for job in "ab":
            trial.readiness.expect(trial.ask_of(1), job, True)
        trial.add(1, "a", "a")
        trial.readiness.expect(trial.ask_of(1), "b", None)
        trial.add(1, "b")
        assert trial.ready(1) == ""
        assert trial.asked() == "1a 1b"

    def test_a_verdict_whose_key_nobody_announced_is_not_expected_once_it_was_told(self) -> None:
        trial = Trial(*chain(2), s0="a")
        trial.readiness.expect(trial.ask_of(1), "a", True)
        trial.readiness.tell(trial.ask_of(1), "a", True)
        trial.add(1, "a")
        assert trial.asked() == "1a"

    def test_a_filter_of_more_than_one_store_is_asked_whatever_is_expected(self) -> None:
        both = Filtered(And((leaf(0), leaf(1))), Accepts(1))
        trial = Trial(both, s0="a")
        ask = trial.readiness.compiled.filter_ask(both)
        assert ask is not None
        trial.readiness.expect(ask, "a", True)
        trial.add(1, "a")
        assert [question.job for question in trial.readiness.questions] == ["a"]

    def test_an_answer_told_before_its_key_is_not_kept(self) -> None:
        trial = Trial(*chain(2), s0="a")
        trial.readiness.tell(trial.ask_of(1), "a", True)
        trial.readiness.tell(trial.ask_of(1), "x", True)
        trial.add(1, "a")
        assert trial.asked() == "1a"

    def test_an_answer_that_was_told_is_newer_than_one_under_way(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.readiness.tell(trial.ask_of(1), "a", True)
        trial.readiness.answer(question, False)
        assert trial.ready(1) == "a"
        assert trial.asked() == ""

    def test_an_answer_under_way_is_not_taken_for_one_to_a_later_question(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.readiness.tell(trial.ask_of(1), "a", True)
        trial.add(1, "a")
        assert trial.take() == {}
        trial.readiness.answer(question, True)
        assert trial.ready(1) == ""
        assert trial.asked() == "1a"

    def test_a_question_that_is_withdrawn_is_asked_again(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.readiness.withdraw(question)
        trial.answer(q1a=True)
        trial.readiness.withdraw(question)
        trial.readiness.answer(question, False)
        assert trial.asked() == ""
        assert trial.ready(1) == "a"

    def test_a_question_that_is_given_up_is_asked_again_when_its_key_changes_and_not_before(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.readiness.give_up(question)
        trial.readiness.rescan()
        trial.add(0, "a")
        trial.readiness.withdraw(question)
        trial.readiness.answer(question, True)
        assert trial.asked() == ""
        assert trial.ready(1) == ""
        trial.add(1, "a")
        trial.answer(q1a=True)
        assert trial.ready(1) == "a"

    def test_a_question_whose_key_changed_is_not_given_up(self) -> None:
        trial = Trial(*chain(2), s0="a", s1="a")
        [question] = trial.take().values()
        trial.add(1, "a")
        trial.readiness.give_up(question)
        assert trial.asked() == "1a"

    def test_a_gate_that_two_tasks_wait_for_is_asked_once(self) -> None:
        trial = Trial(Minus(gate(1), leaf(2)), Minus(gate(1), leaf(3)), s1="a")
        trial.answer(q1a=True)
        assert trial.ready(0) == trial.ready(1) == "a"
        assert trial.readiness.compiled.filter_ask(Filtered(leaf(1), Accepts(7))) is None

    def test_the_base_of_a_filter_is_decided_before_the_filter_is_asked(self) -> None:
        trial = Trial(Filtered(Filtered(leaf(0), Accepts(0)), Accepts(1)), s0="ab")
        trial.answer(q0a=True, q0b=False)
        trial.answer(q1a=True)
        assert trial.ready() == "a"


class TestRelated:
    RULE = Related(leaf(1), translation(0))

    def test_a_job_is_ready_if_what_it_translates_to_is_held(self) -> None:
        trial = Trial(self.RULE, s0="abcd", s1="x")
        trial.answer(q0a="x", q0b="y", q0c="x", q0d=None)
        assert trial.ready() == trial.queued() == "ac"
        trial.add(1, "y")
        trial.remove(1, "x")
        assert trial.ready() == trial.queued() == "b"

    def test_a_translation_is_asked_again_when_its_key_is_added_again(self) -> None:
        trial = Trial(self.RULE, s0="a", s1="x")
        trial.answer(q0a="x")
        trial.add(0, "a")
        assert trial.ready() == ""
        trial.answer(q0a="y")
        assert trial.ready() == ""
        trial.remove(1, "x")
        trial.add(1, "y")
        assert trial.ready() == "a"

    def test_a_job_that_is_gone_is_forgotten_as_a_source(self) -> None:
        trial = Trial(self.RULE, s0="ab", s1="x")
        trial.answer(q0a="x", q0b="x")
        trial.remove(0, "a")
        [node] = trial.readiness.compiled.relations
        assert node.translated.sources == {"x": {"b"}}
        trial.remove(0, "b")
        trial.remove(1, "x")
        assert not node.translated.sources
        assert not node.translated.targets
        assert not trial.readiness._states

    def test_a_job_may_translate_to_itself_through_several_relations(self) -> None:
        trial = Trial(Related(Related(leaf(1), translation(0)), translation(0)), s0="a")
        trial.answer(q0a="a")
        assert trial.ready() == ""
        trial.add(1, "a")
        assert trial.ready() == "a"
        trial.remove(1, "a")
        assert trial.ready() == ""

    def test_one_translation_serves_several_relations_and_is_asked_once(self) -> None:
        trial = Trial(Minus(Related(leaf(1), translation(0)), Related(leaf(2), translation(0))), s0="ab", s1="x")
        trial.answer(q0a="x", q0b="y")
        assert trial.ready() == "a"
        trial.add(2, "x")
        assert trial.ready() == ""

    def test_what_filters_the_targets_is_asked_once_for_all_jobs_and_only_if_one_needs_it(self) -> None:
        trial = Trial(Minus(Related(gate(1), translation(0)), leaf(2)), s0="abc", s1="xy", s2="c")
        trial.answer(q0a="x", q0b="x")
        assert trial.asked() == "1x"
        trial.add(2, "a")
        assert trial.asked() == "1x"
        trial.add(2, "b")
        assert trial.asked() == ""
        trial.remove(2, "c")
        trial.answer(q0c="y")
        trial.answer(q1y=True)
        assert trial.ready() == "c"
        trial.remove(2, "a")
        assert trial.asked() == "1x"

    def test_a_target_that_appears_later_is_asked_about_then_one_filter_after_the_other(self) -> None:
        trial = Trial(Related(Filtered(gate(1), Accepts(7)), translation(0)), s0="a")
        trial.answer(q0a="x")
        assert trial.asked() == ""
        trial.add(1, "x", "y")
        trial.answer(q1x=True)
        trial.answer(q7x=True)
        assert trial.ready() == "a"

    def test_a_target_is_asked_about_in_spite_of_an_unlisted_store_if_the_answer_alone_can_decide(self) -> None:
        related = Related(And((leaf(0), gate(1))), translation(2))
        trial = Trial(Minus(leaf(2), related), s1="x", s2="a", unlisted=[0])
        trial.answer(q2a="x")
        trial.answer(q1x=False)
        assert trial.ready() == "a"

    def test_a_filter_over_a_relation_is_asked_again_when_the_target_changes(self) -> None:
        trial = Trial(Filtered(self.RULE, Accepts(7)), s0="a", s1="xy")
        trial.answer(q0a="x")
        trial.answer(q7a=True)
        trial.add(1, "y")
        assert trial.ready() == "a"
        trial.add(1, "x")
        assert trial.ready() == ""
        trial.answer(q7a=True)
        assert trial.ready() == "a"

    def test_a_filter_over_two_relations_is_asked_again_when_the_last_target_changes(self) -> None:
        twice = Related(Related(leaf(2), translation(1)), translation(0))
        trial = Trial(Filtered(twice, Accepts(7)), s0="a", s1="b", s2="c")
        trial.answer(q0a="b")
        trial.answer(q1b="c")
        [question] = trial.take().values()
        trial.add(2, "c")
        trial.readiness.answer(question, True)
        assert trial.ready() == ""
        trial.answer(q7a=True)
        assert trial.ready() == "a"
        trial.add(2, "c")
        assert trial.ready() == ""

    def test_a_target_in_a_store_that_was_not_listed_keeps_jobs_waiting(self) -> None:
        trial = Trial(Minus(leaf(0), Related(leaf(1), translation(0))), s0="ab", unlisted=[1])
        trial.answer(q0a="x", q0b="y")
        assert trial.ready() == ""
        trial.list(1, "x")
        assert trial.ready() == "b"

    def test_translators_of_different_kinds_over_the_same_keys_are_different(self) -> None:
        first, other = translation(0), translation(3)
        other = type(other)(first.keys, other.translate)
        trial = Trial(Related(leaf(1), first), Related(leaf(1), other), s0="a", s1="x")
        trial.answer(q0a="x", q3a="y")
        assert trial.ready(0) == "a"
        assert trial.ready(1) == ""
