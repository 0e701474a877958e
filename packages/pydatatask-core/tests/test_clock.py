"""What time it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydatatask_core.clock import now


def test_the_time_is_that_of_the_system_aware_and_in_whole_milliseconds() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    moments = [now() for _ in range(1000)]
    after = datetime.now(UTC)
    assert before <= moments[0] <= moments[-1] <= after
    assert all(moment.tzinfo is UTC and moment.microsecond % 1000 == 0 for moment in moments)


def test_time_goes_on() -> None:
    start = now()
    # What fails here fails for ever: the bound is that of the whole suite.
    while now() == start:
        pass
    assert now() - start < timedelta(seconds=60)
