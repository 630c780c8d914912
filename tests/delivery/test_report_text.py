"""What reports say to people who don't run mail servers."""

import pytest

from filterrelay.delivery.report_text import delayed_text, failed_text, reason_for, relayed_text

LINES = [("bob@partner.example", "5.1.1", "550 5.1.1 User unknown")]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("5.1.1", "spelling"),
        ("5.2.2", "full"),
        ("5.3.4", "larger"),
        ("4.4.1", "reached"),
        ("5.7.999", "rules"),
        ("5.0.0", "below"),
    ],
)
def test_a_status_becomes_a_sentence(status: str, word: str) -> None:
    """Unknown ones get the sentence of their subject, or a general one."""
    assert word in reason_for(status)


def test_a_bounce_names_message_recipient_and_reason() -> None:
    """And the other side's words, for who can read them."""
    text = failed_text("relay.example", "Lunch", LINES)
    for word in ('"Lunch"', "bob@partner.example", "spelling", "550 5.1.1 User unknown"):
        assert word in text


def test_a_delay_notice_asks_for_nothing() -> None:
    """Nobody shall send the message again."""
    text = delayed_text("relay.example", "", LINES, "07 January 2026, 03:04 UTC")
    assert "DON'T NEED TO DO ANYTHING" in text
    assert "07 January 2026" in text


def test_a_relayed_report_promises_nothing_more() -> None:
    """Beyond the next server nothing will be heard."""
    assert "all that you will hear" in relayed_text("relay.example", "Lunch", LINES)
