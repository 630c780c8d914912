"""The limits on messages and recipients in a time."""

import pytest

from filterrelay.delivery.rate import PATIENCE, RateLimit, Rates


def test_a_burst_of_one_second_goes_at_once_and_the_rest_is_spaced() -> None:
    """Ten a second: the eleventh waits a tenth of a second, the twelfth two."""
    limit = RateLimit(10)
    waits = [limit.claim(100.0) for _ in range(12)]
    assert waits[:10] == [0.0] * 10
    assert waits[10:] == pytest.approx([0.1, 0.2])


def test_a_slow_rate_lets_one_through_at_a_time() -> None:
    """Half a message a second is one every two seconds."""
    limit = RateLimit(0.5)
    assert [limit.claim(now) for now in (100.0, 100.0, 104.0)] == pytest.approx([0, 2, 0])


def test_a_message_to_many_goes_at_once_and_what_follows_waits_for_all_of_them() -> None:
    """Ten recipients a second: a message to a hundred takes ten seconds' worth."""
    limit = RateLimit(10)
    assert limit.claim(100.0, 100) == 0.0
    assert limit.delay(100.0) == pytest.approx(9.1)


def test_the_room_is_what_would_not_wait_longer() -> None:
    """As many as a claim each would find their turn in time."""
    limit = RateLimit(2)
    room = limit.room(100.0, PATIENCE)
    assert room == 12
    waits = [limit.claim(100.0) for _ in range(room + 1)]
    assert waits[-2] <= PATIENCE < waits[-1]
    assert limit.room(100.0, PATIENCE) == 0


def test_all_limits_hold_together() -> None:
    """Messages and recipients, the upstream's and the destination's: the slowest counts."""
    shared = Rates.of("60/m", "", 1)
    both = shared + Rates.of("", "10/s", 1)
    assert both.claim(100.0, 1, 30) == 0.0
    assert both.delay(100.0) == pytest.approx(2.1)
    assert shared.delay(100.0) == pytest.approx(1.0)
    assert both.room(100.0) == 5
    assert Rates().room(100.0) is None
    assert (Rates().delay(100.0), Rates().claim(100.0, 1, 1)) == (0.0, 0.0)


def test_places_can_be_given_back() -> None:
    """And with them nobody gets more at once than after a pause."""
    rates = Rates.of("10/s", "10/s", 1)
    assert rates.claim(100.0, 2, 30) == 0.0
    rates.give_back(2, 30)
    rates.give_back(1, 1)
    assert rates.room(100.0) == 60
    rates.claim(100.0, 10, 10)
    assert rates.delay(100.0) == pytest.approx(0.1)


def test_each_process_has_its_part() -> None:
    """Ten a second by five processes are two a second in each."""
    assert Rates.of("10/s", "", 5).room(100.0) == 12
