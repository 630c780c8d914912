"""When deferred mail is tried again."""

from datetime import UTC, datetime, timedelta

import pytest

from filterrelay.delivery.retry import RetrySchedule

RECEIVED = datetime(2026, 1, 2, 3, 4, 5, 1000, tzinfo=UTC)
SCHEDULE = RetrySchedule()


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 15), (2, 30), (3, 60), (4, 120)])
def test_intervals_begin_at_15_minutes_and_double(attempts: int, minutes: int) -> None:
    """Give or take a tenth."""
    following = SCHEDULE.next_attempt(RECEIVED, attempts, RECEIVED)
    assert following is not None
    assert abs(following - RECEIVED - timedelta(minutes=minutes)) <= timedelta(minutes=minutes) / 10


def test_intervals_end_at_four_hours() -> None:
    """However often it was tried."""
    day_later = RECEIVED + timedelta(days=1)
    for attempts in (6, 50, 10_000):
        following = SCHEDULE.next_attempt(day_later, attempts, RECEIVED)
        assert following is not None
        assert following - day_later <= timedelta(hours=4.4)


def test_mail_that_came_together_is_not_tried_together() -> None:
    """Two messages deferred at the same moment come back at different ones."""
    other = RECEIVED + timedelta(microseconds=17)
    assert SCHEDULE.next_attempt(RECEIVED, 1, RECEIVED) != SCHEDULE.next_attempt(RECEIVED, 1, other)


def test_an_attempt_falls_on_the_time_of_the_delay_notice() -> None:
    """So the sender hears of a delay after 4 hours, not after the next long interval."""
    now = RECEIVED + timedelta(hours=3, minutes=45)
    assert SCHEDULE.next_attempt(now, 5, RECEIVED) == RECEIVED + timedelta(hours=4)


def test_the_last_attempt_falls_on_the_end_and_then_it_is_over() -> None:
    """After 5 days nothing more is tried."""
    end = RECEIVED + timedelta(days=5)
    assert SCHEDULE.next_attempt(end - timedelta(hours=1), 40, RECEIVED) == end
    assert SCHEDULE.next_attempt(end, 41, RECEIVED) is None


@pytest.mark.parametrize(("hours", "warns"), [(3.9, False), (4, True)])
def test_the_sender_is_warned_after_four_hours(hours: float, warns: bool) -> None:
    """Not before."""
    assert SCHEDULE.warns(RECEIVED + timedelta(hours=hours), RECEIVED) is warns


def test_no_warning_when_it_is_switched_off() -> None:
    """warn_after = "0s"."""
    quiet = RetrySchedule(warn_after=timedelta(0))
    assert not quiet.warns(RECEIVED + timedelta(days=4), RECEIVED)
