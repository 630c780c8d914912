"""The limit on messages in a time."""

import pytest

from filterrelay.delivery.rate import RateLimit, parse_rate


@pytest.mark.parametrize(("text", "rate"), [("100/s", 100), ("600/m", 10), ("1800 / h", 0.5)])
def test_rates_are_read(text: str, rate: float) -> None:
    """A second, a minute, an hour."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["100", "fast", "0/s", "1/d", "-1/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """With an example of one that is."""
    with pytest.raises(ValueError, match="100/s"):
        parse_rate(text)


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
