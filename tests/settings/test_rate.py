"""How rates are written."""

import pytest

from filterrelay.settings.rate import parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/s", 100), ("0.5/s", 0.5), ("600/m", 10), ("1800 / h", 0.5), ("43200/d", 0.5)],
)
def test_rates_are_read(text: str, rate: float) -> None:
    """A second, a minute, an hour, a day."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["100", "fast", "0/s", "1/w", "-1/s", "1/sx"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """With an example of one that is."""
    with pytest.raises(ValueError, match="100/s"):
        parse_rate(text)
