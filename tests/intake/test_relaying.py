"""The rules that keep the relay from being an open one."""

from typing import Any

import pytest

from filterrelay.intake.relaying import LOGIN_FIRST, NO_RELAYING, NO_ROUTING, RelayRules
from filterrelay.mail.address import Address, AddressPattern, parse_mailbox
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.message import Message
from filterrelay.mail.reply import Reply
from filterrelay.mail.session import Identity, Session
from filterrelay.plugin.testing import a_session, an_envelope
from filterrelay.settings import Listener

OURS = (AddressPattern("*@office.example"),)


def rules(**listener: object) -> RelayRules:
    """One listener's rules."""
    values = {"kind": "smtp", "address": "127.0.0.1:25", "auth": "required", "tls": "starttls"}
    values["from_header"] = "own"
    made = Listener.model_validate(values | listener)
    return RelayRules(made, "relay.office.example")


def recipient(text: str) -> Recipient:
    """A recipient without parameters."""
    return Recipient(parse_mailbox(text))


def test_a_stranger_must_log_in_first() -> None:
    """RFC 4954 section 6."""
    assert rules().sender(a_session(), an_envelope()) == LOGIN_FIRST


@pytest.mark.parametrize("session", [a_session(trusted=True), a_session(login="a@b.example")])
def test_who_may_relay_sends_to_anyone(session: object) -> None:
    """After a login, or from a trusted network."""
    assert rules().recipient(session, an_envelope(), recipient("x@y.example")) is None  # type: ignore[arg-type]  # one of the two above


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        ("bob@office.example", None),
        ("bob@elsewhere.example", NO_RELAYING),
        ("bob@sub.office.example", NO_RELAYING),
        ("bob%elsewhere.example@office.example", NO_ROUTING),
        ("elsewhere.example!bob@office.example", NO_ROUTING),
        ('"bob@elsewhere.example"@office.example', NO_ROUTING),
        ("bob@[192.0.2.1]", NO_RELAYING),
        ("postmaster", None),
    ],
)
def test_a_stranger_sends_to_our_own_domains_only(address: str, reply: Reply | None) -> None:
    """Nor by writing one address into another."""
    listener = rules(relay_domains=OURS)
    assert listener.recipient(a_session(), an_envelope(), recipient(address)) == reply


def test_mail_whose_route_is_closed_is_refused_at_once() -> None:
    """With the route's reply, whoever sends; a stranger's relaying is denied before that."""
    asked: list[tuple[str, str, str]] = []
    gone = Reply(550, "5.1.1", "This mailbox is closed")

    def closed(sender: Address | None, to: Address, login: str) -> Reply | None:
        asked.append((str(sender), str(to), login))
        return gone

    listener = RelayRules(rules(relay_domains=OURS).listener, "relay.office.example", closed)
    envelope, to = an_envelope("eve@elsewhere.example"), recipient("bob@office.example")
    assert listener.recipient(a_session(), envelope, to) == gone
    assert listener.recipient(a_session(login="alice"), envelope, to) == gone
    assert asked == [
        ("eve@elsewhere.example", "bob@office.example", login) for login in ("", "alice")
    ]
    elsewhere = recipient("bob@elsewhere.example")
    assert listener.recipient(a_session(), envelope, elsewhere) == NO_RELAYING


def test_a_login_may_not_send_as_somebody_else() -> None:
    """The refusal names both, so that a person can act on it."""
    refused = rules().sender(a_session(login="eve@office.example"), an_envelope())
    assert refused is not None
    assert (refused.code, refused.enhanced) == (553, "5.7.1")
    assert "eve@office.example may not send as alice@office.example" in refused.text


def test_senders_any_allows_it() -> None:
    """For applications that send in many names."""
    session = a_session(login="eve@office.example")
    assert rules(senders="any").sender(session, an_envelope()) is None


def test_a_login_may_send_with_the_null_sender() -> None:
    """Receipts and vacation notices have none (RFC 5321 section 4.5.5)."""
    assert rules().sender(a_session(login="eve@office.example"), an_envelope("")) is None


ALICE = a_session(login="alice@office.example")


def written_as(*fields: str) -> Message:
    """A message with these fields."""
    return Message("ID", "".join(f"{field}\r\n" for field in (*fields, "", "Hello")).encode())


@pytest.mark.parametrize(
    "fields",
    [
        ("From: CEO <ceo@office.example>",),
        ("From: alice@office.example, ceo@office.example",),
        ("From: alice@office.example", "From: ceo@office.example"),
        ("From : ceo@office.example",),
        ("FROM: Board: ceo@office.example;",),
        ("From: alice@office.example (\r\n\tby the way)", "fRom:\r\n ceo@office.example"),
        ("From: ceo@office.example", "Sender: alice@office.example"),
        ("From: alice@office.example", "Sender: ceo@office.example"),
    ],
)
def test_a_login_may_not_write_as_somebody_else(fields: tuple[str, ...]) -> None:
    """Readers see From and a signature that vouches for it, whatever MAIL FROM said."""
    refused = rules().author(ALICE, written_as(*fields))
    assert refused == Reply(
        *(550, "5.7.1"),
        "alice@office.example may not write as ceo@office.example; ask the postmaster to allow it",
    )


@pytest.mark.parametrize("field", ["From:", "From: ceo", "Sender: <ceo@office.example"])
def test_a_field_that_names_nobody_for_sure_is_refused(field: str) -> None:
    """Mail programs would each show something else."""
    refused = rules().author(ALICE, written_as(field))
    assert refused is not None
    assert (refused.code, refused.enhanced) == (550, "5.7.1")
    assert refused.text.startswith(f"Cannot tell whom {field.partition(':')[0]} names: ")


@pytest.mark.parametrize(
    ("session", "listener"),
    [
        (ALICE, {"from_header": Listener.model_fields["from_header"].default}),
        (ALICE, {"senders": "any"}),
        (a_session(trusted=True), {}),
        (a_session(), {"relay_domains": OURS}),
        (a_session(identity=Identity("alice", ("*@office.example",))), {}),
    ],
)
def test_who_may_write_as_anybody(session: Session, listener: dict[str, Any]) -> None:
    """A listener that says so, printers and strangers without a login, and listed senders."""
    message = written_as("From: CEO <ceo@office.example>")
    assert rules(**listener).author(session, message) is None


def test_a_message_without_from_claims_nothing() -> None:
    """It is incomplete, but it is nobody's forgery."""
    assert rules().author(ALICE, written_as("Subject: x")) is None
