"""Top lists tell who counts most, whatever else is counted, and never more than is so."""

import json
from datetime import timedelta

import pytest

from filterrelay.observe.top import ROOM, SLOT, SLOTS, Top
from filterrelay.plugin.testing import SOME_TIME as NOW

OUTCOMES = ("accepted", "refused")
FIVE_MINUTES = timedelta(seconds=SLOT)


def top(room: int = ROOM) -> Top:
    """An empty one."""
    return Top(OUTCOMES, room)


def count(kept: Top, name: str, times: int, outcome: str = "accepted") -> None:
    """So many at once."""
    for _ in range(times):
        kept.count(name, outcome, NOW)


def test_those_who_count_most_are_named_and_the_others_summed() -> None:
    """By outcome; the order is that of both together."""
    kept = top()
    for name, accepted, refused in (("ann", 1, 5), ("bob", 4, 0), ("eve", 2, 1), ("joe", 1, 0)):
        count(kept, name, accepted)
        count(kept, name, refused, "refused")
    assert kept.told(2, "other", NOW) == {"ann": [1, 5], "bob": [4, 0], "other": [3, 1]}
    assert kept.told(0, "other", NOW) == {"other": [8, 6]}


def test_a_heavy_name_is_found_among_any_number_of_others() -> None:
    """Also one that comes when the room is full; what is told of it is no more than it counted."""
    kept = top()
    for number in range(10_000):
        count(kept, f"{number}.example", 1)
        if number >= 5_000 and number % 20 == 0:
            count(kept, "heavy.example", 1)
    told = kept.told(1, "other", NOW)
    assert 200 <= told["heavy.example"][0] <= 250
    assert told["other"][0] == 10_250 - told["heavy.example"][0]


def test_memory_is_bounded_whatever_is_counted() -> None:
    """Names, slots, and the length of a name."""
    kept = top()
    for slot in range(3 * SLOTS):
        for number in range(2 * ROOM):
            kept.count(f"{number}" * 1000, "refused", NOW + slot * FIVE_MINUTES)
    assert len(json.dumps(kept.facts())) < SLOTS * ROOM * 130


def test_an_hour_ago_is_forgotten() -> None:
    """A login that has stopped is named for an hour at most, also where nobody else came."""
    kept = top()
    count(kept, "ann", 3)
    last = NOW + (SLOTS - 1) * FIVE_MINUTES
    assert kept.told(5, "other", last) == {"ann": [3, 0], "other": [0, 0]}
    assert kept.told(5, "other", last + FIVE_MINUTES) == {"other": [0, 0]}


def test_what_comes_late_costs_nothing_else() -> None:
    """A message that ends after one that began later; and a clock that is set right."""
    kept = top()
    kept.count("ann", "accepted", NOW + FIVE_MINUTES)
    kept.count("bob", "accepted", NOW)
    assert set(kept.told(5, "other", NOW + FIVE_MINUTES)) == {"ann", "bob", "other"}
    assert set(kept.told(5, "other", NOW)) == {"bob", "other"}
    kept.count("eve", "accepted", NOW + 1000 * FIVE_MINUTES)
    kept.count("bob", "accepted", NOW)
    assert kept.told(5, "other", NOW) == {"bob": [1, 0], "other": [0, 0]}


def test_no_name_is_kept_where_there_is_no_room() -> None:
    """Who wants no names in the metrics has none in the files either."""
    kept = top(room=0)
    count(kept, "ann", 3)
    assert "ann" not in json.dumps(kept.facts())
    assert kept.told(5, "other", NOW) == {"other": [3, 0]}


def test_a_login_called_other_is_no_second_line() -> None:
    """Prometheus would drop both."""
    kept = top()
    count(kept, "other", 9)
    count(kept, "ann", 1)
    assert kept.told(5, "other", NOW) == {"ann": [1, 0], "other": [9, 0]}


def test_what_two_processes_counted_adds_up() -> None:
    """Also in slots that one of them knows alone; trimmed, it needs no more room than one's."""
    sums = top(room=2)
    for process in range(2):
        kept = top()
        count(kept, "ann", 5)
        count(kept, f"of {process}", 3)
        kept.count("bob", "refused", NOW + process * FIVE_MINUTES)
        sums.learn(json.loads(json.dumps(kept.facts())))
    later = NOW + FIVE_MINUTES
    assert sums.told(2, "other", later) == {"ann": [10, 0], "of 0": [3, 0], "other": [3, 2]}
    sums.trim()
    assert [len(slot.names) for slot in sums.slots.values()] == [2, 1]
    assert sums.told(9, "other", later)["other"] == [3, 1]


@pytest.mark.parametrize("facts", [{"1": [[1], {}]}, {"1": [[1, 2], {"ann": [1]}], "x": [[1, 2]]}])
def test_facts_of_another_form_are_an_error(facts: object) -> None:
    """A file may be damaged."""
    with pytest.raises((ValueError, TypeError)):
        top().learn(facts)  # type: ignore[arg-type]  # the point
