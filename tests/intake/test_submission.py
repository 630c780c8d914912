"""What the relay owes to mail of its own users."""

import pytest

from filterrelay.intake.submission import completed, may_send_as
from filterrelay.mail.address import parse_mailbox
from filterrelay.mail.edits import edit_message
from filterrelay.mail.session import Identity
from filterrelay.plugin.testing import SOME_TIME, a_message

HOST = "relay.office.example"


def test_missing_date_and_message_id_are_added() -> None:
    """RFC 6409 section 8."""
    message = a_message("Hello", date="", message_id="")
    done = edit_message(message, list(completed(message, HOST, SOME_TIME)))
    assert done.get("date") == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert done.get("message-id") == "<MESSAGE@relay.office.example>"


def test_bcc_is_taken_away() -> None:
    """A blind copy stays blind."""
    message = a_message("Hello", bcc="Boss <boss@office.example>")
    assert b"boss" not in edit_message(message, list(completed(message, HOST, SOME_TIME))).raw


def test_blind_copies_of_a_message_sent_on_are_taken_away_too() -> None:
    """Resent-Bcc is for its readers no more than Bcc is (RFC 5322 section 3.6.6)."""
    message = a_message("Hello", resent_bcc="Boss <boss@office.example>")
    assert b"boss" not in edit_message(message, list(completed(message, HOST, SOME_TIME))).raw


def test_a_complete_message_stays_as_it_is() -> None:
    """Nothing is changed without need."""
    assert not list(completed(a_message(), HOST, SOME_TIME))


@pytest.mark.parametrize(
    ("login", "listed", "sender", "allowed"),
    [
        ("alice@office.example", (), "alice@office.example", True),
        ("alice@office.example", (), "Alice@Office.example", True),
        ("alice@office.example", (), "bob@office.example", False),
        ("alice@office.example", ("sales@office.example",), "sales@office.example", True),
        ("alice@office.example", ("*@shop.example",), "any@shop.example", True),
        ("alice@office.example", ("*@shop.example",), "any@sub.shop.example", False),
        ("ann@büro.example", (), "ann@Büro.example", True),
        ("ann@büro.example", (), "ann@xn--bro-hoa.example", True),
        ("alice", (), "alice@office.example", True),
        ("alice", (), "alice@relay.office.example", True),
        ("alice", (), "alice@elsewhere.example", False),
        ("alice", (), "bob@office.example", False),
        ("alice", ("@", "*@shop.example"), "any@shop.example", True),
    ],
)
def test_a_login_sends_as_itself_and_as_its_listed_senders(
    login: str, listed: tuple[str, ...], sender: str, allowed: bool
) -> None:
    """A stolen password of one can't send in the name of all (RFC 6409 section 6.1)."""
    assert may_send_as(Identity(login, listed), parse_mailbox(sender, utf8=True), HOST) is allowed
