"""The values of the spool's protocol, as far as they decide anything themselves."""

from dataclasses import replace

import pytest

from filterrelay.spool.store import NoSuchMessage, RecipientState, Selection, SpoolFull

from .deposits import HOUR, MINUTE, NOON, stored


def test_ended_recipients_are_not_pending() -> None:
    """Only who has neither got the message nor a bounce is still to be tried."""
    message = stored(to=("a@x.example", "b@x.example", "c@x.example"))
    a, b, c = message.recipients
    ended = (
        replace(a, state=RecipientState.DELIVERED),
        b,
        replace(c, state=RecipientState.BOUNCED),
    )
    assert replace(message, recipients=ended).pending() == (b,)


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


def test_errors_say_what_is_the_case() -> None:
    """An operator reads the reason and its figure, not a class's name."""
    assert str(SpoolFull(4096)) == (
        "The spool refuses new messages until space is freed (free=4096)"
    )
    assert "M1" in str(NoSuchMessage("M1"))
