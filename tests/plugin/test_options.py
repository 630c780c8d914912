"""Values as the configuration file writes them."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from filterrelay.plugin.options import Duration, Options, Size


class Values(Options):
    """One of each."""

    duration: Duration = timedelta(0)
    """A duration."""
    size: Size = 0
    """A size."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("4h", 14400), ("5d", 432000), ("500ms", 0.5), ("1.5s", 1.5), ("2 w", 1209600)],
)
def test_durations_are_written_with_their_unit(text: str, seconds: float) -> None:
    """As the contract has them."""
    assert Values.model_validate({"duration": text}).duration.total_seconds() == seconds


@pytest.mark.parametrize(
    ("text", "octets"),
    [("50 MiB", 50 * 1024**2), ("64KiB", 65536), ("1 GB", 10**9), (1000, 1000), ("7", 7)],
)
def test_sizes_are_written_with_theirs(text: Any, octets: int) -> None:
    """Binary and decimal units are told apart."""
    assert Values.model_validate({"size": text}).size == octets


@pytest.mark.parametrize(
    "values",
    [{"duration": 15}, {"duration": "15"}, {"duration": "soon"}, {"size": "big"}, {"size": True}],
)
def test_what_is_neither_is_refused_with_an_example(values: dict[str, Any]) -> None:
    """A number without unit could be anything."""
    with pytest.raises(ValidationError, match=r"like|write"):
        Values.model_validate(values)


def test_options_are_described_by_their_docstrings() -> None:
    """What stands under a field is what `filterrelay plugins` shows."""
    assert Values.model_fields["size"].description == "A size."
