"""The rules that keep the relay from being an open one."""

import pytest

from filterrelay.intake.relaying import LOGIN_FIRST, NO_RELAYING, NO_ROUTING, RelayRules
from filterrelay.mail.address import AddressPattern, parse_mailbox
from filterrelay.mail.envelope import Recipient
from filterrelay.mail.reply import Reply
from filterrelay.plugin.testing import a_session, an_envelope
from filterrelay.settings import Listener

OURS = (AddressPattern("*@office.example"),)


def rules(**listener: object) -> RelayRules:
    """One listener's rules."""
    values = {"kind": "smtp", "address": "127.0.0.1:25", "auth": "required", "tls": "starttls"}
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
    assert rules().recipient(session, recipient("x@y.example")) is None  # type: ignore[arg-type]  # one of the two above


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
    assert listener.recipient(a_session(), recipient(address)) == reply


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
