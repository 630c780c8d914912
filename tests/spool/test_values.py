"""The values of the spool's protocol, as far as they decide anything themselves."""

from dataclasses import replace

from filterrelay.spool.store import NoSuchMessage, RecipientState, SpoolFull

from .deposits import stored


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


def test_errors_say_what_is_the_case() -> None:
    """An operator reads the reason and its figure, not a class's name."""
    assert str(SpoolFull(4096)) == (
        "The spool refuses new messages until space is freed (free=4096)"
    )
    assert "M1" in str(NoSuchMessage("M1"))
