"""Values as rows and back; whole messages are compared in the contract suite."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest

from filterrelay.mail.envelope import Envelope
from filterrelay.spool import codec
from filterrelay.spool.store import Event, RecipientState

from .deposits import HOUR, NOON, stored


@pytest.mark.parametrize("microsecond", [0, 1, 499_999, 500_000, 999_999])
@pytest.mark.parametrize("year", [1970, 2026, 2199])
def test_a_moment_is_exact_to_the_microsecond(year: int, microsecond: int) -> None:
    """Times compare equal after the round trip, so that order is kept."""
    at = datetime(year, 7, 1, 12, 30, 59, microsecond, tzinfo=UTC)
    assert codec.moment(codec.microseconds(at)) == at


def test_a_moment_is_the_same_in_every_zone() -> None:
    """A local time and its UTC equivalent are one row."""
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert codec.microseconds(local) == codec.microseconds(NOON)


def test_a_message_is_due_with_its_first_pending_recipient() -> None:
    """Ended recipients have no say in it; one without a time is due at once."""
    a, b, c = stored(to=("a@x.example", "b@x.example", "c@x.example")).recipients
    ended = replace(a, state=RecipientState.DELIVERED)
    later = replace(b, next_attempt=NOON + HOUR)
    assert codec.due((ended, later, replace(c, next_attempt=NOON + 2 * HOUR))) == (
        codec.microseconds(NOON + HOUR)
    )
    assert codec.due((ended, later, replace(c, next_attempt=None))) == 0
    assert codec.due((ended,)) is None


def test_an_envelope_without_parameters_takes_no_room() -> None:
    """What a client didn't say isn't stored."""
    assert codec.envelope_text(Envelope(None)) == "{}"
    assert codec.envelope_text(Envelope(None, size=17)) == '{"size":17}'


def test_bytes_that_are_no_text_are_stored_readably() -> None:
    """A next hop's reply in some other encoding can't keep a result from being stored."""
    row = codec.settled_row("M1", replace(stored().recipients[0], last_reply="550 caf\udce9"))
    assert "550 caf?" in row


def test_any_mapping_can_be_an_events_data() -> None:
    """Callers may hand over read-only views."""
    event = Event("M1", NOON, "attempt", MappingProxyType({"reply": "250 OK \udce9"}))
    ((id_, *row),) = codec.event_rows([event])
    assert codec.stored_event(id_, tuple(row)).data == {"reply": "250 OK \udce9"}


def test_what_is_no_json_is_refused_before_it_is_written() -> None:
    """A mistake in an event fails its caller, not the group it would have gone with."""
    with pytest.raises(TypeError):
        codec.event_rows([Event("M1", NOON, "attempt", {"at": NOON})])
