"""The limit on messages in a time."""

import pytest

from filterrelay.delivery.rate import RateLimit


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
