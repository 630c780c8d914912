"""Of each bucket the latest message is known."""

import math
from datetime import timedelta

import pytest

from filterrelay.observe.exemplars import Example, Exemplars
from filterrelay.plugin.testing import SOME_TIME as NOW

LATER = NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 1.0), (1.0, 1.0), (1.1, 5.0), (5.0, 5.0), (5.1, math.inf)]
)
def test_a_message_is_in_the_bucket_that_counts_it(seconds: float, bound: float) -> None:
    """A bucket's bound belongs to it (as in Prometheus)."""
    kept = Exemplars((1.0, 5.0))
    kept.note("smtp", "ID", seconds, NOW)
    there = {each for each in (1.0, 5.0, math.inf) if kept.of("smtp", each)}
    assert there == {bound}
    assert kept.of("other", bound) is None


def test_the_latest_of_all_processes_is_kept() -> None:
    """Whichever's notes are read first."""
    early, late = Exemplars((1.0,)), Exemplars((1.0,))
    early.note("smtp", "FIRST", 0.1, NOW)
    early.note("smtp", "SLOW", 2.0, NOW)
    late.note("smtp", "SECOND", 0.2, LATER)
    for order in ((early, late), (late, early)):
        both = Exemplars((1.0,))
        for each in order:
            both.learn(each.facts())
        assert both.of("smtp", 1.0) == Example("SECOND", 0.2, LATER.timestamp())
        slow = both.of("smtp", math.inf)
        assert slow is not None
        assert slow.message_id == "SLOW"
