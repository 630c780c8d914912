"""Which messages are meant; what the stores make of it is in the contract suite."""

from dataclasses import replace

import pytest

from filterrelay.spool.selection import Place, Selection

from .deposits import HOUR, MINUTE, NOON, stored


def test_a_message_just_old_enough_is_meant() -> None:
    """`--older-than 1h` includes what came an hour ago, and nothing younger."""
    selection = Selection(older_than=HOUR)
    assert selection.means(stored(), NOON + HOUR)
    assert not selection.means(stored(), NOON + HOUR - MINUTE)


@pytest.mark.parametrize("sender", ["*@office.example", "sales@office.example"])
def test_bounces_are_from_no_sender(sender: str) -> None:
    """A pattern for senders doesn't mean mail from the null sender."""
    bounce = replace(stored(), envelope=replace(stored().envelope, sender=None))
    assert not Selection(sender=sender).means(bounce, NOON)


def test_a_page_begins_behind_the_last_one() -> None:
    """Messages of one moment stand in the order of their IDs."""
    assert Selection(after=Place(NOON, "M0")).means(stored("M1"), NOON)
    assert not Selection(after=Place(NOON, "M1")).means(stored("M1"), NOON)
